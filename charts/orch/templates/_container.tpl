{{- /* What an actor of this role is told: dict root role. */ -}}
{{- define "orch.env" -}}
{{- $v := .root.Values -}}
- name: ORCH_REDIS_URL
{{- if $v.valkey.enabled }}
  value: {{ printf "redis://%s-valkey:6379" (include "orch.fullname" .root) | quote }}
{{- else if $v.redis.existingSecret }}
  valueFrom:
    secretKeyRef:
      name: {{ $v.redis.existingSecret }}
      key: {{ default $v.redis.existingSecretKey (get $v.redis.existingSecretKeys .role) }}
{{- else }}
  value: {{ $v.redis.url | quote }}
{{- end }}
- {name: ORCH_SHARD, value: {{ $v.shard | int | quote }}}
{{- range $key, $value := $v.settings }}
- name: {{ printf "ORCH_%s" (upper $key) }}
  value: {{ if kindIs "slice" $value }}{{ join "," $value | quote }}{{ else if kindIs "float64" $value }}{{ printf "%.0f" $value | quote }}{{ else }}{{ toString $value | quote }}{{ end }}
{{- end }}
{{- with $v.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "orch.gatewayEnv" -}}
{{- $name := printf "%s-gateway" (include "orch.fullname" .) -}}
{{- $hosts := list $name -}}
{{- range list "" ".svc" ".svc.cluster.local" }}{{ $hosts = append $hosts (printf "%s.%s%s" $name $.Release.Namespace .) }}{{ end -}}
- {name: ORCH_HOST, value: "0.0.0.0"}
- {name: ORCH_PORT, value: {{ .Values.gateway.port | quote }}}
- {name: ORCH_AUTH, value: {{ .Values.gateway.auth | quote }}}
- {name: ORCH_ALLOWED_HOSTS, value: {{ join "," (concat $hosts .Values.gateway.allowedHosts) | quote }}}
{{- if .Values.gateway.tlsSecret }}
- {name: ORCH_TLS_CERT, value: /etc/orch/tls/tls.crt}
- {name: ORCH_TLS_KEY, value: /etc/orch/tls/tls.key}
{{- else }}
- {name: ORCH_PLAINTEXT, value: {{ .Values.gateway.plaintext | quote }}}
{{- end }}
{{- end }}

{{- define "orch.runnerEnv" -}}
- {name: ORCH_POOL, value: {{ .pool | quote }}}
- {name: ORCH_SLOTS, value: {{ default 16 .slots | quote }}}
{{- with .capabilities }}
- {name: ORCH_CAPABILITIES, value: {{ join "," . | quote }}}
{{- end }}
{{- with .extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Alive is the event loop alone: an outage of Redis restarts nobody. Ready is the last good cycle of each loop, or Redis's answer
to a gateway, and no drain. A gateway is asked at its own door, where its loop has to turn; the door opens once Redis was there, and
that may take an hour. */ -}}
{{- define "orch.probes" -}}
{{- $port := "port: metrics" -}}
{{- if eq .role "gateway" }}{{ $port = printf "port: http, scheme: %s" (include "orch.scheme" .root | upper) }}{{ end -}}
startupProbe:
  httpGet: {path: /livez, {{ $port }}}
  periodSeconds: 2
  failureThreshold: {{ if eq .role "gateway" }}1800{{ else }}60{{ end }}
livenessProbe:
  httpGet: {path: /livez, {{ $port }}}
  periodSeconds: 15
  timeoutSeconds: 5
  failureThreshold: 4
readinessProbe:
  httpGet: {path: /readyz, {{ $port }}}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end }}

{{- /* One actor: dict root role name port about (a runner's entry, or what has resources), sidecar. */ -}}
{{- define "orch.actor" -}}
{{- $v := .root.Values -}}
{{- $keeps := has .role (list "gateway" "runner") -}}
{{- $resources := get .about "resources" -}}
{{- if not (hasKey .about "resources") }}{{ $resources = dict "requests" (dict "cpu" "100m" "memory" "256Mi") }}{{ end -}}
- name: {{ .name }}
  image: {{ include "orch.image" (dict "root" .root "own" (get .about "image")) }}
  imagePullPolicy: {{ $v.image.pullPolicy }}
  {{- if .sidecar }}
  restartPolicy: Always
  {{- end }}
  {{- if eq .role "runner" }}
  args: [runner, --url, {{ include "orch.url" .root | quote }}]
  {{- else }}
  args: [{{ .role }}]
  {{- end }}
  env:
    {{- include "orch.env" . | nindent 4 }}
    {{- if eq .role "gateway" }}
    {{- include "orch.gatewayEnv" .root | nindent 4 }}
    {{- else if eq .role "runner" }}
    {{- include "orch.runnerEnv" .about | nindent 4 }}
    {{- end }}
    - {name: ORCH_METRICS_HOST, value: "0.0.0.0"}
    - {name: ORCH_METRICS_PORT, value: {{ .port | quote }}}
  ports:
    {{- if eq .role "gateway" }}
    - {name: http, containerPort: {{ $v.gateway.port }}}
    {{- end }}
    - {name: metrics, containerPort: {{ .port }}}
  {{- include "orch.probes" . | nindent 2 }}
  {{- if eq .role "gateway" }}
  lifecycle:
    # Endpoints forget the pod before it stops listening. (The action `sleep` is not to be had on 1.29.)
    preStop: {exec: {command: [sleep, "5"]}}
  {{- end }}
  terminationMessagePolicy: FallbackToLogsOnError
  securityContext: {{- include "orch.containerSecurity" . | nindent 4 }}
  {{- with $resources }}
  resources: {{- toYaml . | nindent 4 }}
  {{- end }}
  volumeMounts:
    - {name: home-{{ .name }}, mountPath: /var/lib/orch}
    - {name: tmp-{{ .name }}, mountPath: /tmp}
    {{- if $keeps }}
    - {name: blobs, mountPath: /var/lib/orch/blobs}
    {{- end }}
    {{- if and (eq .role "gateway") $v.gateway.tlsSecret }}
    - {name: tls, mountPath: /etc/orch/tls, readOnly: true}
    {{- end }}
    {{- if $v.redis.tlsSecret }}
    - {name: redis-tls, mountPath: /etc/orch/redis, readOnly: true}
    {{- end }}
    {{- with get .about "extraVolumeMounts" }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{- /* What belongs to one actor alone: a home, whose scratch folders a neighbor would take for leftovers. */ -}}
{{- define "orch.actorVolumes" -}}
- {name: home-{{ .name }}, emptyDir: {}}
- {name: tmp-{{ .name }}, emptyDir: {}}
{{- with get .about "extraVolumes" }}
{{ toYaml . }}
{{- end }}
{{- end }}
