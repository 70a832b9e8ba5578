{{/* What Prometheus and Grafana find. */}}

{{/* Name and labels, with those by which an operator or a sidecar chooses its objects. Takes a dict: root, name, labels. */}}
{{- define "ragline.monitoringMetadata" -}}
{{- $part := dict "root" .root "component" "monitoring" -}}
name: {{ include "ragline.fullname" .root }}-{{ .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "ragline.overlay" (list .labels (include "ragline.labels" $part | fromYaml)) | fromJson | toYaml | nindent 2 }}
{{- end -}}

{{/* `true` when something in the cluster scrapes the API. */}}
{{- define "ragline.isScraped" -}}
{{- if or .Values.monitoring.serviceMonitor.enabled .Values.monitoring.podAnnotations -}}
true
{{- end -}}
{{- end -}}

{{/* Annotations by which a Prometheus without the operator finds the API's pods, as JSON. */}}
{{- define "ragline.scrapeAnnotations" -}}
{{- $annotations := dict "prometheus.io/scrape" "true" "prometheus.io/port" "8000" "prometheus.io/path" "/metrics" -}}
{{- ternary $annotations dict .Values.monitoring.podAnnotations | toJson -}}
{{- end -}}

{{- define "ragline.checkMonitoring" -}}
{{- range list "serviceMonitor" "rules" -}}
{{- if and (get $.Values.monitoring .).enabled (not ($.Capabilities.APIVersions.Has "monitoring.coreos.com/v1")) -}}
{{- fail (printf "monitoring.%s.enabled=true needs monitoring.coreos.com/v1, which this cluster does not know: install the Prometheus Operator first, or set it to false." .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
