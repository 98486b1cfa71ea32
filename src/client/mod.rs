//! The HTTP client of the engine's API, for operator, agent and CLI.
