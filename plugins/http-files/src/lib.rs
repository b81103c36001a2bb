//! HTTP file server plugin.
