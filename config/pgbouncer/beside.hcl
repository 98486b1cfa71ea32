# The agent's part of a PgBouncer beside an application: the user that PgBouncer logs in with. docs/poolers.md
template {
  destination = "/run/pgbouncer/databases.ini"
  contents    = <<-EOT
    [databases]
    {{ with secret "database/creds/shop.app" -}}
    app = host=postgres.shop.svc port=5432 dbname=app user={{ .Data.username }} password={{ .Data.password }}
    {{- end }}
  EOT
  reload "signal" { pid_file = "/run/pgbouncer/pgbouncer.pid" }
}
