//! Write a polyport plugin.
