//! The program `polyport`.
fn main() {}
