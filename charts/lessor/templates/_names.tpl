{{/* Names and labels. */}}

{{- define "lessor.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 45 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Of a component: (list $ "engine"). */}}
{{- define "lessor.name" -}}
{{- printf "%s-%s" (include "lessor.fullname" (index . 0)) (index . 1) -}}
{{- end -}}

{{- define "lessor.serviceAccount" -}}
{{- $values := index (index . 0).Values (index . 1) -}}
{{- if $values.serviceAccount.name -}}
{{- $values.serviceAccount.name -}}
{{- else -}}
{{- ternary (include "lessor.name" .) "default" $values.serviceAccount.create -}}
{{- end -}}
{{- end -}}

{{- define "lessor.selector" -}}
app.kubernetes.io/name: {{ default (index . 0).Chart.Name (index . 0).Values.nameOverride }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "lessor.labels" -}}
{{- $root := index . 0 -}}
{{ include "lessor.selector" . }}
app.kubernetes.io/part-of: lessor
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "lessor.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "lessor.engineAddress" -}}
{{- $scheme := ternary "https" "http" .Values.engine.tls.enabled -}}
{{- printf "%s://%s.%s.svc:%d" $scheme (include "lessor.name" (list . "engine")) .Release.Namespace (int .Values.engine.port) -}}
{{- end -}}

{{- define "lessor.tlsSecret" -}}
{{- default (printf "%s-tls" (include "lessor.name" (list . "engine"))) .Values.engine.tls.existingSecret -}}
{{- end -}}

{{- define "lessor.sealSecret" -}}
{{- default (printf "%s-seal" (include "lessor.fullname" .)) .Values.seal.existingSecret -}}
{{- end -}}

{{/* The Secret with the recovery key. */}}
{{- define "lessor.recoverySecret" -}}
{{- default (printf "%s-recovery" (include "lessor.fullname" .)) .Values.recovery.existingSecret -}}
{{- end -}}

{{/* Whether there is one: named, or made together with the seal's. What only runs `helm template` names both. */}}
{{- define "lessor.hasRecovery" -}}
{{- if and .Values.engine.bootstrap.enabled (or .Values.recovery.existingSecret (not .Values.seal.existingSecret)) -}}true{{- end -}}
{{- end -}}

{{- define "lessor.webhookSecret" -}}
{{- default (printf "%s-tls" (include "lessor.name" (list . "webhook"))) .Values.webhook.certificate.secretName -}}
{{- end -}}
