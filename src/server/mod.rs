//! The HTTP server of the engine.
