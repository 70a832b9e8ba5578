{{/* What a queue's worker is. */}}

{{/* Settings of one queue: what differs, over the defaults. Takes a dict: root, queue. As JSON. */}}
{{- define "ragline.worker" -}}
{{- $own := get .root.Values.worker.queues .queue | default dict -}}
{{- $worker := mergeOverwrite (deepCopy .root.Values.worker.defaults) (deepCopy $own) -}}
{{- $_ := set $worker "extraEnv" (include "ragline.overlay" (list .root.Values.worker.defaults.extraEnv $own.extraEnv) | fromJson) -}}
{{- if eq $worker.scaler "auto" -}}
{{- $_ := set $worker "scaler" (ternary "keda" "none" (eq (include "ragline.hasKeda" .root) "true")) -}}
{{- end -}}
{{- $worker | toJson -}}
{{- end -}}

{{/* Components of all workers, as a JSON list. */}}
{{- define "ragline.workerComponents" -}}
{{- $workers := list -}}
{{- range keys .Values.worker.queues | sortAlpha -}}
{{- $workers = append $workers (printf "worker-%s" .) -}}
{{- end -}}
{{- $workers | toJson -}}
{{- end -}}

{{- define "ragline.hasKeda" -}}
{{- if .Capabilities.APIVersions.Has "keda.sh/v1alpha1" -}}true{{- end -}}
{{- end -}}

{{/* Whether any queue is scaled by KEDA. */}}
{{- define "ragline.usesKeda" -}}
{{- $uses := false -}}
{{- range $queue, $_ := .Values.worker.queues -}}
{{- $worker := include "ragline.worker" (dict "root" $ "queue" $queue) | fromJson -}}
{{- $uses = or $uses (eq $worker.scaler "keda") -}}
{{- end -}}
{{- if $uses -}}true{{- end -}}
{{- end -}}
