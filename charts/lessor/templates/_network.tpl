{{/* Egress that every pod of the chart needs. The API server's address differs between clusters, so only its ports are named. */}}
{{- define "lessor.commonEgress" -}}
- ports:
    {{- range .Values.networkPolicy.dnsPorts }}
    - {protocol: UDP, port: {{ . }}}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
- ports:
    {{- range .Values.networkPolicy.apiServerPorts }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end -}}

{{- define "lessor.engineEgressRule" -}}
- ports: [{protocol: TCP, port: {{ .Values.engine.port }}}]
  to:
    - podSelector:
        matchLabels:
          {{- include "lessor.selector" (list . "engine") | nindent 10 }}
{{- end -}}
