{{/* What the pods of all components share; every template takes (list $ "engine"). */}}

{{/* Without the versions: a new chart with the same image restarts nothing. */}}
{{- define "lessor.podMetadata" -}}
{{- $root := index . 0 -}}
{{- $values := index $root.Values (index . 1) -}}
labels:
  {{- include "lessor.selector" . | nindent 2 }}
  app.kubernetes.io/part-of: lessor
  {{- with $values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "lessor.podSettings" -}}
{{- $root := index . 0 -}}
{{- $values := index $root.Values (index . 1) -}}
serviceAccountName: {{ include "lessor.serviceAccount" . }}
automountServiceAccountToken: true
enableServiceLinks: false
terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- $context := $root.Values.podSecurityContext }}
  {{- if $root.Capabilities.APIVersions.Has "security.openshift.io/v1" }}
  {{- $context = omit $context "runAsUser" "runAsGroup" "fsGroup" }}
  {{- end }}
  {{- toYaml $context | nindent 2 }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if $values.affinity }}
affinity:
  {{- toYaml $values.affinity | nindent 2 }}
{{- else if has (index . 1) (list "webhook" "operator") }}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "lessor.selector" . | nindent 14 }}
{{- end }}
{{- end -}}

{{- define "lessor.containerSettings" -}}
{{- $root := index . 0 -}}
{{- $values := index $root.Values (index . 1) -}}
image: {{ include "lessor.image" $root }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
command: [/lessor]
args:
  {{- include (printf "lessor.arguments.%s" (index . 1)) $root | nindent 2 }}
  {{- with $values.extraArgs }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
env:
  - name: POD_NAME
    valueFrom: {fieldRef: {fieldPath: metadata.name}}
  {{- if eq (index . 1) "operator" }}
  # What lists and answers took goes back to the system: it would be half of the operator's memory.
  - {name: MALLOC_ARENA_MAX, value: "1"}
  - {name: MALLOC_MMAP_THRESHOLD_, value: "65536"}
  - {name: MALLOC_TRIM_THRESHOLD_, value: "131072"}
  {{- end }}
  {{- with $values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
securityContext:
  {{- toYaml $root.Values.containerSecurityContext | nindent 2 }}
{{- with $values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Probes of operator and webhook: (list PORT SCHEME). */}}
{{- define "lessor.probes" -}}
{{- $where := printf "port: %s, scheme: %s" (index . 0) (index . 1) -}}
startupProbe:
  httpGet: {path: /healthz, {{ $where }}}
  periodSeconds: 1
  failureThreshold: 120
livenessProbe:
  httpGet: {path: /healthz, {{ $where }}}
  periodSeconds: 10
  timeoutSeconds: 3
readinessProbe:
  httpGet: {path: /readyz, {{ $where }}}
  periodSeconds: 5
  timeoutSeconds: 3
{{- end -}}

{{/* The engine's CA, without its key, at /etc/lessor/ca/ca.crt. */}}
{{- define "lessor.caVolume" -}}
- name: engine-ca
  secret:
    secretName: {{ include "lessor.tlsSecret" . }}
    items: [{key: ca.crt, path: ca.crt}]
    defaultMode: 0440
{{- end -}}

{{- define "lessor.serviceAccountManifest" -}}
{{- $root := index . 0 -}}
{{- $values := index $root.Values (index . 1) -}}
{{- if $values.serviceAccount.create -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "lessor.serviceAccount" . }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "lessor.labels" . | nindent 4 }}
  {{- with $values.serviceAccount.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end -}}
{{- end -}}

{{- define "lessor.disruptionBudgetManifest" -}}
{{- $root := index . 0 -}}
{{- $budget := (index $root.Values (index . 1)).podDisruptionBudget -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "lessor.name" . }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "lessor.labels" . | nindent 4 }}
spec:
  {{- if hasKey $budget "minAvailable" }}
  minAvailable: {{ $budget.minAvailable }}
  {{- else }}
  maxUnavailable: {{ $budget.maxUnavailable }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "lessor.selector" . | nindent 6 }}
{{- end -}}
