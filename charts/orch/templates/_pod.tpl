{{- /* Metadata of a pod: dict root component extra. */ -}}
{{- define "orch.podMetadata" -}}
{{- with .root.Values.podAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
labels:
  {{- include "orch.componentLabels" (list .root .component) | nindent 2 }}
  orch/scraped: "true"
  {{- with .extra }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with .root.Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- /* How a pod of actors runs and where: dict root component extra role given. */ -}}
{{- define "orch.pod" -}}
{{- $v := .root.Values -}}
automountServiceAccountToken: false
serviceAccountName: {{ include "orch.serviceAccount" .root }}
# Variables of services of the namespace are not settings of ours.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  # A large volume of blobs is not walked through at each start.
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
# Longer than what SIGTERM sets going may take.
terminationGracePeriodSeconds: {{ include "orch.termination" . }}
{{- with $v.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $v.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- if $v.topologySpreadConstraints }}
  {{- toYaml $v.topologySpreadConstraints | nindent 2 }}
  {{- else }}
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "orch.componentSelector" (list .root .component) | nindent 8 }}
        {{- with .extra }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  {{- end }}
{{- end }}

{{- /* What several actors of a pod share. Modes are decimal, since 0440 is not the same number in every YAML: 288. */ -}}
{{- define "orch.sharedVolumes" -}}
{{- $v := .root.Values -}}
{{- if has .role (list "gateway" "runner" "all-in-one") }}
- name: blobs
  {{- if or $v.blobs.existingClaim $v.blobs.create }}
  persistentVolumeClaim:
    claimName: {{ default (printf "%s-blobs" (include "orch.fullname" .root)) $v.blobs.existingClaim }}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- end }}
{{- if and (has .role (list "gateway" "all-in-one")) $v.gateway.tlsSecret }}
- {name: tls, secret: {secretName: {{ $v.gateway.tlsSecret }}, defaultMode: 288}}
{{- end }}
{{- with $v.redis.tlsSecret }}
- {name: redis-tls, secret: {secretName: {{ . }}, defaultMode: 288}}
{{- end }}
{{- end }}
