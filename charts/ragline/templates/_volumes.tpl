{{/* Volumes of pods. */}}

{{/* Secrets as files in /run/secrets/ragline, each pod its own. Takes a dict: root, and openai, auth, tracing: whether
     needed. */}}
{{- define "ragline.secretsVolume" -}}
{{- $files := list -}}
{{- if include "ragline.redisHasPassword" .root -}}
{{- $files = append $files (dict "secret" (include "ragline.redisSecret" .root) "key" "redis_password") -}}
{{- end -}}
{{- if .root.Values.redis.external.sentinel.auth -}}
{{- $files = append $files (dict "secret" (include "ragline.redisSecret" .root) "key" "redis_sentinel_password") -}}
{{- end -}}
{{- if .openai -}}
{{- $files = append $files (dict "secret" (include "ragline.openaiSecret" .root) "key" "openai_api_key") -}}
{{- end -}}
{{- if .auth -}}
{{- $files = append $files (dict "secret" (include "ragline.authSecret" .root) "key" "api_keys") -}}
{{- end -}}
{{- if and .tracing .root.Values.tracing.existingSecret -}}
{{- $files = append $files (dict "secret" .root.Values.tracing.existingSecret "key" "otel_exporter_otlp_headers") -}}
{{- end -}}
name: secrets
projected:
  defaultMode: 0440
  sources:
    {{- range $files }}
    - secret:
        name: {{ .secret }}
        items: [{key: {{ .key }}, path: {{ .key }}}]
    {{- else }}
    []
    {{- end }}
{{- end -}}

{{/* A claim that outlives the release, so that its size can grow with it. Takes a dict: root, component, persistence. */}}
{{- define "ragline.volumeClaim" -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  {{- include "ragline.metadata" . | nindent 2 }}
  annotations:
    helm.sh/resource-policy: keep
spec:
  accessModes: [ReadWriteOnce]
  {{- with .persistence.storageClass }}
  storageClassName: {{ . }}
  {{- end }}
  resources:
    requests:
      storage: {{ .persistence.size }}
{{- end -}}

{{/* The volume of a part with data. Takes a dict: root, component, persistence. */}}
{{- define "ragline.dataVolume" -}}
name: data
persistentVolumeClaim:
  claimName: {{ .persistence.existingClaim | default (printf "%s-%s" (include "ragline.fullname" .root) .component) }}
{{- end -}}
