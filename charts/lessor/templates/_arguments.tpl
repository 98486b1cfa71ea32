{{/* The command line of every role, in one place. */}}

{{- define "lessor.logArguments" -}}
- --log-level={{ .Values.log.level }}
- --log-format={{ .Values.log.format }}
{{- end -}}

{{- define "lessor.engineArguments" -}}
- --engine-address={{ include "lessor.engineAddress" . }}
{{- if .Values.engine.tls.enabled }}
- --engine-ca-file=/etc/lessor/ca/ca.crt
{{- end }}
- --auth-mount={{ .Values.auth.mount }}
- --token-audience={{ .Values.auth.audience }}
{{- end -}}

{{- define "lessor.arguments.engine" -}}
- server
- --config=/etc/lessor/server.hcl
{{ include "lessor.logArguments" . }}
{{- end -}}

{{- define "lessor.arguments.operator" -}}
- operator
{{ include "lessor.engineArguments" . }}
- --login-role=lessor-operator
{{- with .Values.operator.loginMounts }}
- --login-mounts={{ join "," . }}
{{- end }}
- --token-file=/var/run/secrets/lessor/token
- --database-mount=database
- --login-secrets={{ include "lessor.name" (list . "operator") }}-logins
{{- if .Values.operator.namespaces }}
- --namespaces={{ join "," .Values.operator.namespaces }}
{{- else if and .Values.rbac.create .Values.operator.bindTenantRole }}
- --tenant-role={{ include "lessor.operatorTenantRole" . }}
- --service-account={{ include "lessor.serviceAccount" (list . "operator") }}
{{- end }}
{{- if .Values.operator.leaderElect }}
- --leader-lease={{ include "lessor.name" (list . "operator") }}
- --lease-namespace={{ .Release.Namespace }}
{{- end }}
- --max-rollouts={{ .Values.operator.maxRollouts }}
- --identity=$(POD_NAME)
- --listen=[::]:{{ .Values.operator.healthPort }}
{{ include "lessor.logArguments" . }}
{{- end -}}

{{- define "lessor.arguments.webhook" -}}
- webhook
{{ include "lessor.engineArguments" . }}
- --agent-image={{ default (include "lessor.image" .) .Values.webhook.agentImage }}
- --agent-image-pull-policy={{ .Values.image.pullPolicy }}
- --namespace={{ .Release.Namespace }}
- --service-name={{ include "lessor.name" (list . "webhook") }}
- --configuration-name={{ include "lessor.name" (list . "webhook") }}
- --secret-name={{ include "lessor.webhookSecret" . }}
{{- with .Values.webhook.certificate }}
- --certificate-source={{ ternary "self" "secret" (eq .source "self") }}
- --certificate-validity={{ .validity }}
{{- with .renewBefore }}
- --certificate-renew-before={{ . }}
{{- end }}
- --certificate-overlap={{ .overlap }}
{{- end }}
- --listen=[::]:{{ .Values.webhook.port }}
{{ include "lessor.logArguments" . }}
{{- end -}}
