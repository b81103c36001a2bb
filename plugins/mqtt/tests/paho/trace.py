"""Publishes one message over a WebSocket, MQTT 5."""
import sys

import paho.mqtt.client as mqtt

client = mqtt.Client(
    mqtt.CallbackAPIVersion.VERSION2,
    client_id="socket",
    transport="websockets",
    protocol=mqtt.MQTTv5,
)
client.username_pw_set("alice", "wonderland")
client.connect("127.0.0.1", int(sys.argv[1]))
client.loop_start()
client.publish("boards/8", "abc", qos=1).wait_for_publish(20)
client.disconnect()
client.loop_stop()
