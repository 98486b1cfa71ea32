//! The engine: mounts, tokens, policies, leases, and the one path of every request.
