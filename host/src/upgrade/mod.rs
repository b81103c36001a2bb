//! `polyport upgrade`: a new process of the program takes this one's place, and no client can tell.
//!
//! The old process starts the program that lies where it was started from, gives it the listening sockets and what
//! services have that only one may have, and lets it serve when all is ready; then connections pass to it one by one,
//! and the old one ends with the last that cannot. Until the word to serve either may fail, and the old one goes on.
//! Knows how both talk, not what they do with it: that is the reload's.

pub mod offer;
pub mod parcels;
pub mod program;
pub mod protocol;
pub mod take;
pub mod wire;
