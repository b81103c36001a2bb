//! JSON document store plugin.
