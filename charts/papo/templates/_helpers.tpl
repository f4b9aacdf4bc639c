{{/* The name of everything that the chart makes. */}}
{{- define "papo.name" -}}
{{ .Release.Name }}-operator
{{- end }}

{{- define "papo.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "papo.name" .) }}
{{- end }}

{{/* What selects the operator's pod; it can never change. */}}
{{- define "papo.selector" -}}
app.kubernetes.io/name: papo-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "papo.labels" -}}
{{ include "papo.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "papo.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "papo.nodeImage" -}}
{{ .Values.nodeImage.repository }}:{{ .Values.nodeImage.tag | default .Chart.AppVersion }}
{{- end }}

{{/* What Pod Security calls restricted, and a read-only root on top. */}}
{{- define "papo.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "papo.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}
