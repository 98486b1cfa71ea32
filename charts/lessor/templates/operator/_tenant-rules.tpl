{{/* What the operator may do for the tenants of a namespace: never cluster-wide. */}}
{{- define "lessor.operatorTenantRules" -}}
# Admin accounts are read, and destinations written, by name; list and watch are for the metadata of Secrets with the
# operator's label, to repair one that was edited or deleted at once. RBAC cannot express labels.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, patch]
# CA certificates that a CredentialEngine names.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get]
# The tenant's own ServiceAccount logs in for a DynamicDatabaseSecret or a StaticDatabaseSecret, not the operator.
- apiGroups: [""]
  resources: [serviceaccounts/token]
  verbs: [create]
{{- end -}}

{{- define "lessor.operatorTenantRole" -}}
{{- printf "%s-tenant" (include "lessor.name" (list . "operator")) -}}
{{- end -}}
