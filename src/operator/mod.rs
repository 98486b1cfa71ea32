//! The operator: reconciles Lessor's kinds into engine configuration and Kubernetes Secrets.
