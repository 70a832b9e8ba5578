{{/* Names and labels. */}}

{{/* Longest suffix: "-worker-" and a queue of 15 characters. Truncated names end in a hash, so that two long release
     names with the same beginning stay apart. KEDA's own HPA adds "keda-hpa-" and still fits into 63. */}}
{{- define "ragline.fullname" -}}
{{- $chart := default .Chart.Name .Values.nameOverride -}}
{{- $name := default (ternary .Release.Name (printf "%s-%s" .Release.Name $chart) (contains $chart .Release.Name)) .Values.fullnameOverride -}}
{{- if gt (len $name) 31 -}}
{{- printf "%s-%s" ($name | trunc 24 | trimSuffix "-") ($name | sha256sum | trunc 6) -}}
{{- else -}}
{{- $name -}}
{{- end -}}
{{- end -}}

{{- define "ragline.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "ragline.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{/* Labels that all pods of the release share. */}}
{{- define "ragline.releaseSelector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* Labels of one component's selector. Takes a dict: root, component. */}}
{{- define "ragline.selector" -}}
{{ include "ragline.releaseSelector" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Labels that nobody else may set. Takes a dict: root, component. */}}
{{- define "ragline.ownLabels" -}}
{{ include "ragline.selector" . }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Labels of one component's objects. Takes a dict: root, component. */}}
{{- define "ragline.labels" -}}
{{- $given := dict "app.kubernetes.io/part-of" "ragline" "app.kubernetes.io/version" .root.Chart.AppVersion -}}
{{- include "ragline.overlay" (list $given .root.Values.commonLabels (include "ragline.ownLabels" . | fromYaml)) | fromJson | toYaml -}}
{{- end -}}

{{/* One map of several: of two with the same key, the later wins whole. Takes a list of maps; as JSON. */}}
{{- define "ragline.overlay" -}}
{{- $all := dict -}}
{{- range $map := . -}}
{{- range $key, $value := $map -}}
{{- $_ := set $all $key $value -}}
{{- end -}}
{{- end -}}
{{- $all | toJson -}}
{{- end -}}

{{/* Name and labels of one component's object. Takes a dict: root, component, and name where it is another one. */}}
{{- define "ragline.metadata" -}}
name: {{ .name | default (printf "%s-%s" (include "ragline.fullname" .root) .component) }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "ragline.labels" . | nindent 2 }}
{{- end -}}

{{/* Takes a dict: image, and default for an empty tag. */}}
{{- define "ragline.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (.image.tag | default .default) -}}
{{- end -}}
{{- end -}}

{{/* Names of Secrets: the user's, or the one the chart makes. */}}
{{- define "ragline.redisSecret" -}}
{{- .Values.redis.existingSecret | default (printf "%s-redis" (include "ragline.fullname" .)) -}}
{{- end -}}

{{- define "ragline.objectStoreSecret" -}}
{{- .Values.objectStore.existingSecret | default (printf "%s-object-store" (include "ragline.fullname" .)) -}}
{{- end -}}

{{- define "ragline.flowerSecret" -}}
{{- .Values.flower.existingSecret | default (printf "%s-flower" (include "ragline.fullname" .)) -}}
{{- end -}}

{{- define "ragline.openaiSecret" -}}
{{- .Values.openai.existingSecret | default (printf "%s-openai" (include "ragline.fullname" .)) -}}
{{- end -}}

{{- define "ragline.authSecret" -}}
{{- .Values.auth.existingSecret | default (printf "%s-auth" (include "ragline.fullname" .)) -}}
{{- end -}}

{{/* Name of the ConfigMap with the system prompt; empty for the built-in one. */}}
{{- define "ragline.promptConfigMap" -}}
{{- if .Values.promptTemplate -}}
{{- printf "%s-prompt" (include "ragline.fullname" .) -}}
{{- else -}}
{{- .Values.promptConfigMap -}}
{{- end -}}
{{- end -}}

{{/* A password that is made once and then kept. Takes a dict: root, secret, key, value. Tools that render without the
     cluster cannot look it up; they need an existing Secret. */}}
{{- define "ragline.keptPassword" -}}
{{- $found := lookup "v1" "Secret" .root.Release.Namespace .secret -}}
{{- if .value -}}
{{- .value -}}
{{- else if and $found (hasKey ($found.data | default dict) .key) -}}
{{- index $found.data .key | b64dec -}}
{{- else -}}
{{- randAlphaNum 32 -}}
{{- end -}}
{{- end -}}
