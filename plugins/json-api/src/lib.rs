//! JSON document store plugin.

mod json;
