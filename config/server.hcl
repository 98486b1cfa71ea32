# A configuration of Lessor's engine: lessor server --config server.hcl
#
# HCL or JSON, with the keys that Vault and OpenBao use; what those know and this does not is ignored with a warning, or refused
# where that would mislead. There may be several files, and folders of them. In a cluster the Helm chart writes this file.

# Where the engine keeps mounts, policies, tokens and leases; everything in it is encrypted. "inmem" forgets it all at the end.
storage "embedded" {
  path = "/var/lib/lessor"
}

# Vault's HTTP API. There may be several listeners.
listener "tcp" {
  address       = "127.0.0.1:8200"
  tls_cert_file = "/etc/lessor/tls/tls.crt" # PEM; the server's certificate first, then the chain
  tls_key_file  = "/etc/lessor/tls/tls.key"

  # Instead of the two files, plain HTTP: only where nobody can listen in.
  # tls_disable = true

  # sys/rekey and sys/generate-root work by shares alone; with these they take a token with sudo, too, at sys/rotate/root and
  # sys/generate-root-token.
  # disable_unauthed_rekey_endpoints         = true
  # disable_unauthed_generate_root_endpoints = true

  # What one caller may take from the others; these are the defaults. A zero is no limit, but for headers and between requests, where
  # it is http_read_timeout, and for max_request_size, where it is the default; a negative max_request_size is none.
  # http_read_header_timeout = "10s"
  # http_read_timeout        = "30s"      # for a body
  # http_write_timeout       = 0          # from the headers until the answer was taken
  # http_idle_timeout        = "5m"       # between two requests
  # max_request_size         = 33554432   # bytes
  # max_connections          = 4096       # above, those between two requests are closed first
}

# What protects the storage's key: 32 bytes, raw, in hex or in base64, such as `openssl rand -base64 32` prints. Without this
# key the storage cannot be read: back it up, elsewhere than the storage. Besides file:// there is env://VARIABLE.
seal "static" {
  current_key_id = "2026-01"
  current_key    = "file:///etc/lessor/seal.key"

  # To change the key: the new one above, and the one before it here until the engine has been started once.
  # previous_key_id = "2025-01"
  # previous_key    = "file:///etc/lessor/seal-2025-01.key"
}

# Instead: people open the engine after each start, each with a share of a key that sys/init gave them. It is also what holds when no
# seal is named.
# seal "shamir" {}

# How clients reach the engine.
api_addr = "https://127.0.0.1:8200"

# The time that a lease lasts when neither role nor mount says, and the longest that any may last.
default_lease_ttl = "1h"
max_lease_ttl     = "768h"

log_level  = "info"     # trace, debug, info, warn, error, off
log_format = "standard" # or json, one object a line

# In a Kubernetes cluster: what the engine sets up itself when it starts. With this stanza a new engine also initialises itself
# and gives up its root token. Without it, POST sys/init answers the recovery shares and a root token.
# bootstrap {
#   # Instead of shares that nobody would be given: 32 bytes as for the seal. Whoever has it can generate a root token.
#   recovery_key = "file:///etc/lessor/recovery.key"
#   kubernetes_auth {
#     path            = "kubernetes"
#     kubernetes_host = "https://kubernetes.default.svc"
#   }
#   database {
#     path = "database"
#   }
#   operator {
#     role            = "lessor-operator"
#     service_account = "lessor-operator"
#     namespace       = "lessor"
#     audience        = "lessor"
#   }
# }
