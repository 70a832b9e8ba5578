{{/* Where the parts are reached. */}}

{{- define "ragline.redisHost" -}}
{{- ternary (printf "%s-redis" (include "ragline.fullname" .)) .Values.redis.external.host .Values.redis.enabled -}}
{{- end -}}

{{- define "ragline.redisPort" -}}
{{- ternary 6379 .Values.redis.external.port .Values.redis.enabled -}}
{{- end -}}

{{- define "ragline.redisDatabase" -}}
{{- ternary 0 .Values.redis.external.database .Values.redis.enabled -}}
{{- end -}}

{{- define "ragline.redisTls" -}}
{{- if and (not .Values.redis.enabled) .Values.redis.external.tls -}}true{{- end -}}
{{- end -}}

{{- define "ragline.redisHasPassword" -}}
{{- if or .Values.redis.enabled .Values.redis.existingSecret .Values.redis.password -}}true{{- end -}}
{{- end -}}

{{- define "ragline.usesSentinel" -}}
{{- if .Values.redis.external.sentinel.addresses -}}true{{- end -}}
{{- end -}}

{{/* Without the password, which pods get as a file. */}}
{{- define "ragline.redisUrl" -}}
{{- if include "ragline.usesSentinel" . -}}
sentinel://{{ join "," .Values.redis.external.sentinel.addresses }}/{{ include "ragline.redisDatabase" . -}}
{{- else -}}
{{- ternary "rediss" "redis" (eq (include "ragline.redisTls" .) "true") }}://{{ include "ragline.redisHost" . }}:{{ include "ragline.redisPort" . }}/{{ include "ragline.redisDatabase" . -}}
{{- end -}}
{{- end -}}

{{- define "ragline.chromaUrl" -}}
{{- ternary (printf "http://%s-chroma:8000" (include "ragline.fullname" .)) .Values.chroma.external.url .Values.chroma.enabled -}}
{{- end -}}

{{/* Where spans go; empty: nowhere. */}}
{{- define "ragline.tracingEndpoint" -}}
{{- .Values.tracing.endpoint | default (ternary (printf "http://%s-jaeger:4318" (include "ragline.fullname" .)) "" .Values.jaeger.enabled) -}}
{{- end -}}

{{/* Port of the collector outside. */}}
{{- define "ragline.collectorPort" -}}
{{- $url := urlParse .Values.tracing.endpoint -}}
{{- regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- end -}}
