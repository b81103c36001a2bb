//! Runs the real polyport host on real sockets for tests.
