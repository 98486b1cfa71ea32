//! The only encryption at rest: a backend over a backend that encrypts every value.
