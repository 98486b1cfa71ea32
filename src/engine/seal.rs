//! Seals: what protects the root key while the engine is down.
