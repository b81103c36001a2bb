//! The frozen contract between polyport and its plugins.
