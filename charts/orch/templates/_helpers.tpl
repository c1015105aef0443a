{{- define "orch.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "orch.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "orch.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "orch.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "orch.selector" -}}
app.kubernetes.io/name: {{ include "orch.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "orch.labels" -}}
{{ include "orch.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* Pods of one component: list root component. */ -}}
{{- define "orch.componentSelector" -}}
{{ include "orch.selector" (index . 0) }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "orch.componentLabels" -}}
{{ include "orch.labels" (index . 0) }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- /* The component whose pods hold a role: list root role. */ -}}
{{- define "orch.componentOf" -}}
{{- if (index . 0).Values.allInOne.enabled }}all-in-one{{ else }}{{ index . 1 }}{{ end }}
{{- end }}

{{- define "orch.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ default (include "orch.fullname" .) .Values.serviceAccount.name }}{{ else }}{{ default "default" .Values.serviceAccount.name }}{{ end }}
{{- end }}

{{- /* The image of the release, or a runner's own: dict root own. */ -}}
{{- define "orch.image" -}}
{{- $image := .root.Values.image -}}
{{- if dig "repository" "" (default dict .own) }}{{ $image = .own }}{{ end -}}
{{- if $image.digest }}{{ printf "%s@%s" $image.repository $image.digest }}{{ else }}{{ printf "%s:%s" $image.repository (default .root.Chart.AppVersion $image.tag) }}{{ end }}
{{- end }}

{{- define "orch.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "orch.metricsPort" -}}9464{{- end }}

{{- define "orch.scheme" -}}
{{- if .Values.gateway.tlsSecret }}https{{ else }}http{{ end }}
{{- end }}

{{- /* How pods of this cluster reach the gateway. */ -}}
{{- define "orch.url" -}}
{{- printf "%s://%s-gateway.%s.svc:%v" (include "orch.scheme" .) (include "orch.fullname" .) .Release.Namespace .Values.gateway.service.port }}
{{- end }}

{{- /* A runner's own name: its `name`, else its pool, as Kubernetes takes it. */ -}}
{{- define "orch.runnerName" -}}
{{- default .pool .name | lower | replace "_" "-" | replace "." "-" | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "orch.graceSeconds" -}}
{{- div (add (int (dig "grace_ms" 5000 .Values.settings)) 999) 1000 }}
{{- end }}

{{- /* The time that a pod has from SIGTERM to SIGKILL: dict root role given. A runner lets its jobs end within the grace, stops
the rest within another, and tells how it ended; a gateway is taken out of its Service first. */ -}}
{{- define "orch.termination" -}}
{{- $grace := include "orch.graceSeconds" .root | int -}}
{{- $needed := 15 -}}{{- $least := 30 -}}
{{- if eq .role "gateway" }}{{ $needed = add $grace 10 }}{{ end -}}
{{- if or (eq .role "runner") (eq .role "all-in-one") }}{{ $needed = add (mul 2 $grace) 10 }}{{ $least = 60 }}{{ end -}}
{{- $given := int (default 0 .given) -}}
{{- if and $given (lt $given (int $needed)) }}
{{- fail (printf "terminationGracePeriodSeconds: %d of the %s is too short for settings.grace_ms: at least %d" $given .role $needed) }}
{{- end -}}
{{- if $given }}{{ $given }}{{ else }}{{ max $needed $least }}{{ end -}}
{{- end }}

{{- /* What would render, and not work. */ -}}
{{- define "orch.check" -}}
{{- $v := .Values -}}
{{- if not (or $v.valkey.enabled $v.redis.existingSecret $v.redis.url) }}
{{- fail "redis.url, redis.existingSecret or valkey.enabled says where Redis is" }}
{{- end }}
{{- if or (regexMatch "://[^/?]*:[^/?@]*@" $v.redis.url) (contains "password=" $v.redis.url) }}
{{- fail "redis.url holds a password: put the whole URL into a secret, and name that as redis.existingSecret" }}
{{- end }}
{{- if and $v.redis.existingSecretKeys (not $v.redis.existingSecret) }}
{{- fail "redis.existingSecretKeys are keys of redis.existingSecret, which is empty" }}
{{- end }}
{{- if eq $v.gateway.auth "none" }}
{{- fail "gateway.auth: a gateway that others can reach needs tokens" }}
{{- end }}
{{- if not (or $v.gateway.tlsSecret $v.gateway.plaintext) }}
{{- fail "gateway.tlsSecret is empty and gateway.plaintext is false: the gateway would not start" }}
{{- end }}
{{- $seen := dict -}}
{{- range $v.runners }}
{{- $name := include "orch.runnerName" . }}
{{- if hasKey $seen $name }}
{{- fail (printf "runners: two are called %s; give one of them a name" $name) }}
{{- end }}
{{- $_ := set $seen $name true }}
{{- $scaled := or (dig "keda" "enabled" false .) (dig "hpa" "enabled" false .) }}
{{- if and (dig "keda" "enabled" false .) (dig "hpa" "enabled" false .) }}
{{- fail (printf "runners: %s has keda and hpa, and can have one" $name) }}
{{- end }}
{{- if and $v.allInOne.enabled (or $scaled .agent) }}
{{- fail (printf "runners: %s cannot have keda, hpa or agent with allInOne.enabled" $name) }}
{{- end }}
{{- end }}
{{- end }}
