"""The names in traces: the one place where attributes of OpenTelemetry's semantic conventions are spelled.

Pinned, because messaging and GenAI are both "Development" there and names still move: a new revision is a
change of this file, of docs/traces.md and of the test that compares both. The packages of constants are not
used: what they hold of GenAI is deprecated. What no convention names begins with `orch.`.
"""

from __future__ import annotations

from typing import Final

SEMANTIC_CONVENTIONS: Final = "1.44.0"
"""Of the messaging, error and service attributes."""
GENAI_CONVENTIONS: Final = "2026-08-20"
"""Of the GenAI attributes: they have a repository of their own without releases; a day of its main branch."""
SCHEMA_URL: Final = f"https://opentelemetry.io/schemas/{SEMANTIC_CONVENTIONS}"
SCOPE: Final = "orch"
"""The instrumentation scope."""
SERVICE: Final = "orch"
"""service.name, where the environment gives none."""

# -- messaging: submitting and handing out jobs
SYSTEM: Final = "messaging.system"
SYSTEM_REDIS: Final = "redis"
OPERATION_NAME: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
DESTINATION: Final = "messaging.destination.name"
MESSAGE_ID: Final = "messaging.message.id"
CONSUMER_GROUP: Final = "messaging.consumer.group.name"
BATCH_COUNT: Final = "messaging.batch.message_count"
CLIENT_ID: Final = "messaging.client.id"

# -- GenAI: what an attempt was and used
AGENT_OPERATION: Final = "gen_ai.operation.name"
AGENT_INVOKED: Final = "invoke_agent"
AGENT_NAME: Final = "gen_ai.agent.name"
CONVERSATION: Final = "gen_ai.conversation.id"
MODEL: Final = "gen_ai.request.model"
TOKENS_IN: Final = "gen_ai.usage.input_tokens"
TOKENS_OUT: Final = "gen_ai.usage.output_tokens"

# -- general
ERROR_TYPE: Final = "error.type"
SERVICE_NAME: Final = "service.name"
SERVICE_INSTANCE: Final = "service.instance.id"
SERVICE_VERSION: Final = "service.version"

# -- ours
JOB: Final = "orch.job.id"
STATE: Final = "orch.job.state"
DUPLICATE: Final = "orch.job.duplicate"
TENANT: Final = "orch.tenant"
POOL: Final = "orch.pool"
ATTEMPT: Final = "orch.attempt.number"
FENCE: Final = "orch.attempt.fence"
RUNNER: Final = "orch.attempt.runner"
ADAPTER: Final = "orch.attempt.adapter"
OUTCOME: Final = "orch.outcome"
REASON: Final = "orch.reason"
DECISION: Final = "orch.decision"
DELAY_MS: Final = "orch.delay_ms"
COST_MICROS: Final = "orch.usage.cost_micros"
"""No convention names a cost: millionths of the endpoint's unit of money."""
CORRELATION: Final = "orch.correlation_id"
ROLE: Final = "orch.role"

# -- OpenTelemetry's variables that Orch reads itself; the SDK reads more
VARIABLES: Final = frozenset(
    "OTEL_SDK_DISABLED OTEL_TRACES_EXPORTER OTEL_SERVICE_NAME OTEL_RESOURCE_ATTRIBUTES "
    "OTEL_TRACES_SAMPLER OTEL_TRACES_SAMPLER_ARG OTEL_BSP_SCHEDULE_DELAY TRACEPARENT".split()
) | {
    f"OTEL_EXPORTER_OTLP_{of}{what}"
    for of in ("", "TRACES_")
    for what in "ENDPOINT PROTOCOL HEADERS TIMEOUT COMPRESSION CERTIFICATE".split()
}
