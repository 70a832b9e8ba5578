{{/* What pods have in common. */}}

{{/* Settings of a pod. Takes a dict: root, component, values (of the component). */}}
{{- define "ragline.podSettings" -}}
serviceAccountName: {{ include "ragline.serviceAccountName" .root }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .root.Values.podSecurityContext | nindent 2 }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "ragline.selector" . | nindent 8 }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* Labels and annotations of a pod, without versions: an upgrade of the chart alone must not restart the stores. Takes a
     dict: root, component, values, and annotations of the template's own. */}}
{{- define "ragline.podMetadata" -}}
{{- $given := dict "app.kubernetes.io/part-of" "ragline" }}
labels:
  {{- include "ragline.overlay" (list $given .root.Values.commonLabels (include "ragline.selector" . | fromYaml)) | fromJson | toYaml | nindent 2 }}
{{- with merge (dict) (.values.podAnnotations | default dict) (.annotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Image and security of a container. Takes a dict: root, image, and default for an empty tag. */}}
{{- define "ragline.container" -}}
image: {{ include "ragline.image" . }}
imagePullPolicy: {{ .image.pullPolicy }}
securityContext:
  {{- toYaml .root.Values.containerSecurityContext | nindent 2 }}
{{- end -}}

{{/* Entries of `env` from a map of names, sorted, so that no name comes twice. Values: strings or `valueFrom`. */}}
{{- define "ragline.env" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  {{- if kindIs "map" $value }}
  {{- toYaml $value | nindent 2 }}
  {{- else }}
  value: {{ $value | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Environment of the API and the workers. Takes a dict: root, and layers (the container's own maps, by name). */}}
{{- define "ragline.appEnv" -}}
{{- $store := .root.Values.objectStore -}}
{{- $env := dict -}}
{{- if $store.enabled -}}
{{- $secret := include "ragline.objectStoreSecret" .root -}}
{{- $_ := set $env "AWS_ACCESS_KEY_ID" (dict "valueFrom" (dict "secretKeyRef" (dict "name" $secret "key" "access_key_id"))) -}}
{{- $_ := set $env "AWS_SECRET_ACCESS_KEY" (dict "valueFrom" (dict "secretKeyRef" (dict "name" $secret "key" "secret_access_key"))) -}}
{{- end -}}
env:
  {{- include "ragline.env" (include "ragline.overlay" (concat (list $env .root.Values.extraEnv) .layers) | fromJson) | trim | nindent 2 }}
envFrom:
  - configMapRef:
      name: {{ include "ragline.fullname" .root }}-config
  {{- if and (not $store.enabled) $store.external.existingSecret }}
  - secretRef:
      name: {{ $store.external.existingSecret }}
  {{- end }}
{{- end -}}

{{/* Changes with the data of one of the chart's ConfigMaps. Takes a dict: root, path (of its template). */}}
{{- define "ragline.checksum" -}}
{{- (include (print .root.Template.BasePath .path) .root | fromYaml).data | toJson | sha256sum -}}
{{- end -}}

{{/* Changes with what the pods of the application read at their start. Passwords that the chart makes do not change. */}}
{{- define "ragline.checksums" -}}
{{- $given := list .Values.redis.password .Values.redis.existingSecret .Values.openai .Values.auth .Values.objectStore.existingSecret .Values.tracing.existingSecret -}}
checksum/config: {{ include "ragline.checksum" (dict "root" . "path" "/common/configmap.yaml") }}
checksum/secrets: {{ $given | toJson | sha256sum }}
{{- end -}}

{{/* Whether there are API keys besides those that Redis holds. */}}
{{- define "ragline.hasPlainKeys" -}}
{{- if and .Values.auth.enabled (or .Values.auth.apiKeys .Values.auth.existingSecret) -}}true{{- end -}}
{{- end -}}

{{/* Whether the chart's test has to make itself a key, and so to reach Redis. */}}
{{- define "ragline.testMakesKey" -}}
{{- if and .Values.auth.enabled (not (include "ragline.hasPlainKeys" .)) -}}true{{- end -}}
{{- end -}}

{{- define "ragline.usesOpenai" -}}
{{- if or .Values.openai.apiKey .Values.openai.existingSecret -}}true{{- end -}}
{{- end -}}
