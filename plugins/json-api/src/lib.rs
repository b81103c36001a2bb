//! JSON document store plugin.

mod json;
mod store;
