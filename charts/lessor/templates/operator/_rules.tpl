{{/* What the operator may do in the namespaces that it watches. */}}
{{- define "lessor.operatorRules" -}}
# Lessor's kinds; patch sets the finalizer.
- apiGroups: [lessor.dev]
  resources: [credentialengines, databaseconnections, databaseroles, dynamicdatabasesecrets, staticdatabaseroles, staticdatabasesecrets]
  verbs: [get, list, watch, patch]
- apiGroups: [lessor.dev]
  resources:
    - credentialengines/status
    - databaseconnections/status
    - databaseroles/status
    - dynamicdatabasesecrets/status
    - staticdatabaseroles/status
    - staticdatabasesecrets/status
  verbs: [patch]
# For owner references where OwnerReferencesPermissionEnforcement is on.
- apiGroups: [lessor.dev]
  resources:
    - credentialengines/finalizers
    - databaseconnections/finalizers
    - databaseroles/finalizers
    - dynamicdatabasesecrets/finalizers
    - staticdatabaseroles/finalizers
    - staticdatabasesecrets/finalizers
  verbs: [update]
# The end of a pod ends its leases; a restart is over when the last old pod is gone, and finds consumers by what pods use.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
# Restarts of the workloads that such an object means: by name, by label (list), or by their pods (replicasets).
- apiGroups: [apps]
  resources: [deployments, statefulsets, daemonsets]
  verbs: [get, list, patch]
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [get]
{{- range .Values.operator.restartKinds }}
- apiGroups: [{{ .apiGroup | quote }}]
  resources: {{ toJson .resources }}
  verbs: [get, list, patch]
{{- end }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
