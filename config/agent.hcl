# A configuration of lessor-agent. The keys are those of Vault's Agent; JSON works as well.

vault {
  address = "https://lessor.lessor-system.svc:8200"
  ca_cert = "/lessor/tls/ca.crt"
}

auto_auth {
  method "kubernetes" {
    config = {
      role       = "shop"
      token_path = "/var/run/secrets/lessor.dev/token"
    }
  }
}

template_config {
  # For secrets without a lease.
  static_secret_render_interval = "5m"
  # Ours: how long a replaced credential lives on for those who still use it.
  revoke_grace = "60s"
}

template {
  destination = "/lessor/secrets/database"
  perms       = "0440"
  contents    = <<-EOT
    {{- with secret "database/creds/shop" -}}
    postgresql://{{ .Data.username }}:{{ .Data.password | urlquery }}@db.shop.svc:5432/shop
    {{- end -}}
  EOT
}
