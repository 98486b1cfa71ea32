//! Login with a Kubernetes ServiceAccount token, reviewed by the cluster.
