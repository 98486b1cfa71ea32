//! The mutating webhook: injects the agent from pod annotations.
