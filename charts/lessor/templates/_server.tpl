{{/* The engine's configuration. */}}
{{- define "lessor.serverConfiguration" -}}
storage "embedded" {
  path = "/var/lib/lessor"
}

listener "tcp" {
  address = "{{ .Values.engine.listenHost }}:{{ .Values.engine.port }}"
  {{- if .Values.engine.tls.enabled }}
  tls_disable   = false
  tls_cert_file = "/etc/lessor/tls/tls.crt"
  tls_key_file  = "/etc/lessor/tls/tls.key"
  {{- else }}
  tls_disable = true
  {{- end }}
  {{- if or .Values.engine.openMetrics .Values.metrics.podMonitor.enabled }}
  telemetry {
    unauthenticated_metrics_access = true
  }
  {{- end }}
}

seal "static" {
  current_key_id = {{ .Values.seal.keyId | quote }}
  current_key    = "file:///etc/lessor/seal/current"
  {{- if .Values.seal.previousKey }}
  previous_key_id = {{ .Values.seal.previousKeyId | quote }}
  previous_key    = "file:///etc/lessor/seal/previous"
  {{- end }}
}

api_addr = "{{ include "lessor.engineAddress" . }}"
{{- if .Values.engine.bootstrap.enabled }}

bootstrap {
  {{- if include "lessor.hasRecovery" . }}
  recovery_key = "file:///etc/lessor/recovery/key"
  {{- end }}
  kubernetes_auth {
    path            = {{ .Values.auth.mount | quote }}
    kubernetes_host = {{ .Values.engine.bootstrap.kubernetesHost | quote }}
  }
  database {
    path = "database"
  }
  operator {
    role            = "lessor-operator"
    service_account = {{ include "lessor.serviceAccount" (list . "operator") | quote }}
    namespace       = {{ .Release.Namespace | quote }}
    audience        = {{ .Values.auth.audience | quote }}
  }
}
{{- end }}
{{- with .Values.engine.extraConfig }}

{{ . | trim }}
{{- end }}
{{- end -}}
