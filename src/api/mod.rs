//! The Kubernetes kinds of group lessor.dev.
