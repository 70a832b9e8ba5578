{{/* What the API looks like from outside: two routes, everything and the questions, each with a limit of its own. */}}

{{/* The questions as one regular expression, anchored by the slash and the dollar: one path is one bucket, where
     several paths would each count alone. */}}
{{- define "ragline.ragPath" -}}
/(rag/query(/sync)?|v1/(chat/completions|embeddings|collections/[^/]+/queries))$
{{- end -}}

{{/* Response headers for browsers, as JSON. A Content-Security-Policy would break /docs. */}}
{{- define "ragline.securityHeaders" -}}
{{- $headers := dict "X-Content-Type-Options" "nosniff" "X-Frame-Options" "DENY" "Referrer-Policy" "no-referrer" -}}
{{- if .Values.ingress.tls.enabled -}}
{{- $_ := set $headers "Strict-Transport-Security" "max-age=31536000" -}}
{{- end -}}
{{- ternary $headers dict .Values.ingress.securityHeaders | toJson -}}
{{- end -}}

{{/* Seconds a reply may be silent: a synchronous query and some air. */}}
{{- define "ragline.replySeconds" -}}
{{- add .Values.config.queryTimeoutSeconds 30 -}}
{{- end -}}

{{/* The Ingress objects of the chosen provider, as a JSON list. Each has a name; paths, none for the host alone; and
     what its annotations say: perMinute, master. */}}
{{- define "ragline.ingresses" -}}
{{- $limit := .Values.ingress.rateLimit -}}
{{- $all := dict "path" "/" "pathType" "Prefix" -}}
{{- $pattern := dict "path" (include "ragline.ragPath" .) "pathType" "ImplementationSpecific" -}}
{{- $exact := list -}}
{{- range list "/rag/query" "/rag/query/sync" "/v1/chat/completions" "/v1/embeddings" -}}
{{- $exact = append $exact (dict "path" . "pathType" "Exact") -}}
{{- end -}}
{{- $general := dict "name" "general" "paths" (list $all) "perMinute" $limit.generalPerMinute -}}
{{- $rag := dict "name" "rag" "paths" (ternary $exact (list $pattern) (eq $limit.provider "haproxy")) "perMinute" $limit.ragPerMinute -}}
{{- if eq $limit.provider "none" -}}
{{- list $general | toJson -}}
{{- else if eq $limit.provider "nginx-f5" -}}
{{- list (dict "name" "host" "master" true) $general $rag | toJson -}}
{{- else -}}
{{- list $general $rag | toJson -}}
{{- end -}}
{{- end -}}

{{/* Annotations per provider, as JSON. Each takes a dict: root, ingress (one of the above). */}}
{{- define "ragline.ingressAnnotations.none" -}}
{}
{{- end -}}

{{- define "ragline.ingressAnnotations.traefik" -}}
{{- $annotations := dict -}}
{{- $names := list (printf "%s-limit" .ingress.name) -}}
{{- if .root.Values.ingress.securityHeaders -}}
{{- $names = prepend $names "security-headers" -}}
{{- end -}}
{{- $middlewares := list -}}
{{- range $names -}}
{{- $middlewares = append $middlewares (printf "%s-%s-%s@kubernetescrd" $.root.Release.Namespace (include "ragline.fullname" $.root) .) -}}
{{- end -}}
{{- $_ := set $annotations "traefik.ingress.kubernetes.io/router.middlewares" (join "," $middlewares) -}}
{{- if eq .ingress.name "rag" -}}
{{- $_ := set $annotations "traefik.ingress.kubernetes.io/router.pathmatcher" "PathRegexp" -}}
{{- end -}}
{{- $annotations | toJson -}}
{{- end -}}

{{/* This controller takes several Ingress objects for one host only as a master, which has the host, and minions. */}}
{{- define "ragline.ingressAnnotations.nginx-f5" -}}
{{- $annotations := dict "nginx.org/mergeable-ingress-type" (ternary "master" "minion" (hasKey .ingress "master")) -}}
{{- if hasKey .ingress "master" -}}
{{- $_ := set $annotations "nginx.org/client-max-body-size" (printf "%dm" (add1 (div .root.Values.config.maxUploadBytes 1048576))) -}}
{{- $_ := set $annotations "nginx.org/proxy-read-timeout" (printf "%ss" (include "ragline.replySeconds" .root)) -}}
{{- else -}}
{{- $limits := dict "rate" (printf "%vr/m" .ingress.perMinute) "key" "${binary_remote_addr}" "zone-size" "10m" "burst" (get .root.Values.ingress.rateLimit (printf "%sBurst" .ingress.name) | toString) "no-delay" "true" "reject-code" "429" -}}
{{- range $name, $value := $limits -}}
{{- $_ := set $annotations (printf "nginx.org/limit-req-%s" $name) $value -}}
{{- end -}}
{{- $headers := list -}}
{{- range $name, $value := include "ragline.securityHeaders" .root | fromJson -}}
{{- $headers = append $headers (printf "%s: %s: always" $name $value) -}}
{{- end -}}
{{- with $headers -}}
{{- $_ := set $annotations "nginx.org/add-header" (join "," .) -}}
{{- end -}}
{{- if eq .ingress.name "rag" -}}
{{- $_ := set $annotations "nginx.org/path-regex" "case_sensitive" -}}
{{- end -}}
{{- end -}}
{{- $annotations | toJson -}}
{{- end -}}

{{/* Counters are tables named after the period: the same period would count both routes together. */}}
{{- define "ragline.ingressAnnotations.haproxy" -}}
{{- $annotations := dict -}}
{{- $_ := set $annotations "haproxy.org/rate-limit-requests" (toString .ingress.perMinute) -}}
{{- $_ := set $annotations "haproxy.org/rate-limit-period" (ternary "61s" "60s" (eq .ingress.name "rag")) -}}
{{- $_ := set $annotations "haproxy.org/rate-limit-status-code" "429" -}}
{{- $_ := set $annotations "haproxy.org/timeout-server" (printf "%ss" (include "ragline.replySeconds" .root)) -}}
{{- $headers := list -}}
{{- range $name, $value := include "ragline.securityHeaders" .root | fromJson -}}
{{- $headers = append $headers (printf "%s %q" $name $value) -}}
{{- end -}}
{{- with $headers -}}
{{- $_ := set $annotations "haproxy.org/response-set-header" (join "\n" .) -}}
{{- end -}}
{{- $annotations | toJson -}}
{{- end -}}
