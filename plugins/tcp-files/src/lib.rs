//! Length-prefixed JSON file protocol plugin.
