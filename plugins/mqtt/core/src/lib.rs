//! MQTT broker engine without I/O.
