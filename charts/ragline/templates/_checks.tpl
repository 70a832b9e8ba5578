{{/* Combinations that cannot work, each refused with one sentence. */}}

{{/* What the application routes tasks to; a test holds it against the application's own list. */}}
{{- define "ragline.routedQueues" -}}
default document vectorstore rag
{{- end -}}

{{- define "ragline.checks" -}}
{{- include "ragline.checkStores" . -}}
{{- include "ragline.checkSecrets" . -}}
{{- include "ragline.checkSettings" . -}}
{{- include "ragline.checkMonitoring" . -}}
{{- range include "ragline.routedQueues" . | splitList " " -}}
{{- if not (hasKey $.Values.worker.queues .) -}}
{{- fail (printf "worker.queues.%s is missing: tasks are routed to this queue, and without a worker they would wait for ever." .) -}}
{{- end -}}
{{- end -}}
{{- range $queue, $_ := .Values.worker.queues -}}
{{- include "ragline.checkWorker" (dict "root" $ "queue" $queue) -}}
{{- end -}}
{{- end -}}

{{/* Takes a quantity such as 1Gi, 512Mi, or Redis' 800mb. */}}
{{- define "ragline.mebibytes" -}}
{{- $number := regexFind "^[0-9]+" . | int64 -}}
{{- if regexMatch "(Gi|gb)$" . -}}
{{- mul $number 1024 -}}
{{- else if hasSuffix "kb" . -}}
{{- div $number 1024 -}}
{{- else -}}
{{- $number -}}
{{- end -}}
{{- end -}}

{{- define "ragline.checkStores" -}}
{{- if and .Values.redis.enabled (not .Values.redis.persistence.enabled) -}}
{{- fail "redis.persistence.enabled=false would lose the ledger with its pod: keep the volume, or set redis.enabled=false and redis.external.host." -}}
{{- end -}}
{{- $limit := dig "limits" "memory" "" .Values.redis.resources | toString -}}
{{- if and .Values.redis.enabled (regexMatch "^[0-9]+(Mi|Gi)$" $limit) (ge (include "ragline.mebibytes" .Values.redis.maxMemory | int) (include "ragline.mebibytes" $limit | int)) -}}
{{- fail "redis.maxMemory must be smaller than redis.resources.limits.memory: at the limit the server would be killed, again at each start." -}}
{{- end -}}
{{- $external := .Values.redis.external -}}
{{- $chosen := without (list .Values.redis.enabled (not (empty $external.host)) (not (empty $external.sentinel.addresses))) false -}}
{{- if ne (len $chosen) 1 -}}
{{- fail "Set redis.enabled=true, redis.external.host or redis.external.sentinel.addresses: exactly one of the three." -}}
{{- end -}}
{{- if ne (empty $external.sentinel.addresses) (empty $external.sentinel.master) -}}
{{- fail "redis.external.sentinel.addresses and redis.external.sentinel.master go together: set both or none." -}}
{{- end -}}
{{- if and $external.sentinel.auth (or (empty $external.sentinel.addresses) (not .Values.redis.existingSecret)) -}}
{{- fail "redis.external.sentinel.auth=true needs redis.external.sentinel.addresses, and redis.existingSecret with the key redis_sentinel_password." -}}
{{- end -}}
{{- if and $external.tls $external.sentinel.addresses -}}
{{- fail "redis.external.tls does not go with redis.external.sentinel: Sentinels and the servers they watch are reached without TLS." -}}
{{- end -}}
{{- if ne .Values.chroma.enabled (empty .Values.chroma.external.url) -}}
{{- fail "Set either chroma.enabled=true or chroma.external.url: exactly one of the two." -}}
{{- end -}}
{{- if ne .Values.objectStore.enabled (empty .Values.objectStore.external.url) -}}
{{- fail "Set either objectStore.enabled=true or objectStore.external.url: exactly one of the two." -}}
{{- end -}}
{{- end -}}

{{/* A Secret of the user's under the name of the chart's own would be deleted with that one. */}}
{{- define "ragline.checkSecrets" -}}
{{- range $value, $part := dict "auth" "auth" "openai" "openai" "redis" "redis" "objectStore" "object-store" "flower" "flower" -}}
{{- $name := printf "%s-%s" (include "ragline.fullname" $) $part -}}
{{- if eq (get $.Values $value).existingSecret $name -}}
{{- fail (printf "%s.existingSecret must not be %s: that is the name of the Secret which the chart makes, and which an upgrade would then delete." $value $name) -}}
{{- end -}}
{{- end -}}
{{- if and (not .Values.objectStore.enabled) .Values.objectStore.existingSecret -}}
{{- fail "objectStore.existingSecret is for the chart's own server: set objectStore.external.existingSecret." -}}
{{- end -}}
{{- if and (not .Values.auth.enabled) (or .Values.auth.apiKeys .Values.auth.existingSecret) -}}
{{- fail "There are API keys, but auth.enabled=false leaves the API open: set auth.enabled=true, or give no keys." -}}
{{- end -}}
{{- end -}}

{{- define "ragline.checkSettings" -}}
{{- if and .Values.tracing.endpoint .Values.jaeger.enabled -}}
{{- fail "Set jaeger.enabled=true or tracing.endpoint, not both: traces go to one place, and the other would stay empty." -}}
{{- end -}}
{{- if and .Values.tracing.existingSecret (not .Values.tracing.endpoint) -}}
{{- fail "tracing.existingSecret needs tracing.endpoint, the collector that wants these headers." -}}
{{- end -}}
{{- if and .Values.promptTemplate .Values.promptConfigMap -}}
{{- fail "Set promptTemplate or promptConfigMap, not both." -}}
{{- end -}}
{{- range list "{no_evidence}" "{fence}" -}}
{{- if and $.Values.promptTemplate (not (contains . $.Values.promptTemplate)) -}}
{{- fail (printf "promptTemplate must hold %s: docs/prompts.md tells what it stands for." .) -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.config.embedder "openai") (not (include "ragline.usesOpenai" .)) -}}
{{- fail "config.embedder=openai needs openai.existingSecret or openai.apiKey." -}}
{{- end -}}
{{- if and .Values.config.embeddingModelDir (not .Values.config.embeddingModel) -}}
{{- fail "config.embeddingModelDir needs config.embeddingModel, the name of the model in that folder." -}}
{{- end -}}
{{- if and .Values.api.service.nodePort (eq .Values.api.service.type "ClusterIP") -}}
{{- fail "api.service.nodePort needs api.service.type NodePort or LoadBalancer." -}}
{{- end -}}
{{- if ge (int .Values.config.chunkOverlap) (int .Values.config.chunkSize) -}}
{{- fail "config.chunkOverlap must be smaller than config.chunkSize." -}}
{{- end -}}
{{- if gt (int .Values.api.autoscaling.minReplicas) (int .Values.api.autoscaling.maxReplicas) -}}
{{- fail "api.autoscaling.minReplicas must not be greater than maxReplicas." -}}
{{- end -}}
{{- if lt (int .Values.api.terminationGracePeriodSeconds) (int (add .Values.config.queryTimeoutSeconds 15)) -}}
{{- fail "api.terminationGracePeriodSeconds must be at least 15 s more than config.queryTimeoutSeconds: a rollout would cut off answers that somebody waits for." -}}
{{- end -}}
{{- range $name, $_ := .Values.commonLabels -}}
{{- if hasKey (include "ragline.ownLabels" (dict "root" $ "component" "any") | fromYaml) $name -}}
{{- fail (printf "commonLabels must not name %s: the chart sets this label itself." $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Takes a dict: root, queue. */}}
{{- define "ragline.checkWorker" -}}
{{- $worker := include "ragline.worker" . | fromJson -}}
{{- $where := printf "worker.queues.%s" .queue -}}
{{- if and (eq $worker.scaler "keda") (not (include "ragline.hasKeda" .root)) -}}
{{- fail (printf "%s.scaler is keda, but this cluster does not know keda.sh/v1alpha1: install KEDA first, or set the scaler to auto, hpa or none." $where) -}}
{{- end -}}
{{- if gt (int $worker.minReplicas) (int $worker.maxReplicas) -}}
{{- fail (printf "%s.minReplicas must not be greater than maxReplicas." $where) -}}
{{- end -}}
{{- end -}}
