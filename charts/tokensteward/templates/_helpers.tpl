{{- define "tokensteward.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if contains "tokensteward" .Release.Name -}}
{{ .Release.Name | trunc 53 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-tokensteward" .Release.Name | trunc 53 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "tokensteward.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "tokensteward.fullname" .) }}
{{- end -}}

{{- define "tokensteward.selectorLabels" -}}
app.kubernetes.io/name: tokensteward
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "tokensteward.labels" -}}
{{ include "tokensteward.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "tokensteward.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* The names that callers of the authority know it by. */}}
{{- define "tokensteward.authorityNames" -}}
{{- $service := printf "%s-authority.%s" (include "tokensteward.fullname" .) .Release.Namespace -}}
{{- concat (list $service (printf "%s.svc" $service) (printf "%s.svc.cluster.local" $service)) .Values.authority.certificate.dnsNames | toJson -}}
{{- end -}}

{{/* The Secret that the authority's certificate is mounted from; empty if the operator makes its own. */}}
{{- define "tokensteward.certificateSecret" -}}
{{- if not .Values.clusterIssuers.enabled -}}
{{- else if eq .Values.authority.certificate.source "CertManager" -}}
{{ include "tokensteward.fullname" . }}-authority-certificate
{{- else if eq .Values.authority.certificate.source "Secret" -}}
{{ .Values.authority.certificate.secretName }}
{{- end -}}
{{- end -}}
