//! A complete third-party plugin: it sends back what it receives.
