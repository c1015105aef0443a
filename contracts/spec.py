"""What a caller asks for: the job spec, schema v1.

Unknown keys are refused; `parse_spec` turns every fault into one INVALID_SPEC whose details.path names
the key. What an adapter wants in `config` is judged here too, for the adapters that ship with Orch, so
that a bad command costs nothing (ADM-6).
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import (
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from contracts import limits
from contracts.adapters import ADAPTER_CONFIGS, AtMs, Id, Millis, Strict, Text, empty
from contracts.errors import ErrorCode, Refused
from contracts.outcomes import Outcome

SCHEMA_VERSION: Final = 1


class Adapter(Strict):
    """Which adapter runs the agent, and what it needs to know."""

    name: Id
    config: dict[str, Any]


class Retry(Strict):
    """How often and for which outcome classes another attempt is made."""

    attempts_max: Annotated[int, Field(ge=1, le=limits.ATTEMPTS_MAX)] | None = None
    backoff_ms: Millis | None = None
    backoff_ms_max: Millis | None = None
    on: list[Annotated[Outcome, Field(strict=False)]] | None = None


class Placement(Strict):
    """Which pool takes the job, when the spec does not simply name one.

    A `pin` is that pool or a refusal, never another one. `prefer` tries `pools` in their order and then any
    other. `auto` takes the least loaded, among `pools` if some are named. `requires` are capabilities that
    every runner of the pool has; pools in `avoid` are never taken.
    """

    mode: Literal["pin", "prefer", "auto"] = "auto"
    pools: Annotated[list[Id], Field(max_length=limits.POOLS_MAX)] = empty(list)
    avoid: Annotated[list[Id], Field(max_length=limits.POOLS_MAX)] = empty(list)
    requires: Annotated[list[Id], Field(max_length=limits.CAPABILITIES_MAX)] = empty(list)

    @model_validator(mode="after")
    def _pools_fit_mode(self) -> Placement:
        if self.mode == "pin" and len(self.pools) != 1:
            message = "mode 'pin' names exactly one pool in pools"
            raise ValueError(message)
        if self.mode == "prefer" and not self.pools:
            message = "mode 'prefer' names at least one pool in pools"
            raise ValueError(message)
        return self


class JobSpec(Strict):
    """A job as a caller writes it."""

    name: Annotated[str, Field(min_length=1, max_length=limits.NAME_CHARS_MAX)]
    adapter: Adapter
    id: Id | None = None
    objective: Annotated[str, Field(max_length=limits.OBJECTIVE_CHARS_MAX)] | None = None
    inputs: dict[str, Any] | None = None
    tenant: Id = "default"
    session: Id | None = None
    pool: Id = "default"
    placement: Placement | None = None
    priority: Id | None = None
    not_before_ms: AtMs | None = None
    deadline_ms: AtMs | None = None
    budgets: dict[str, Annotated[int, Field(ge=0)]] | None = None
    retry: Retry | None = None
    fallback: dict[str, Any] | None = None
    checkpoint_policy: dict[str, Any] | None = None
    expected_artifacts: (
        Annotated[list[Text], Field(max_length=limits.ARTIFACTS_PER_JOB_MAX)] | None
    ) = None
    acceptance: dict[str, Any] | None = None
    environment_fingerprint: dict[str, Any] | None = None
    labels: (
        Annotated[
            dict[Id, Annotated[str, Field(max_length=limits.LABEL_CHARS_MAX)]],
            Field(max_length=limits.LABELS_MAX, json_schema_extra={"additionalProperties": False}),
        ]
        | None
    ) = None
    idempotency_key: (
        Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")] | None
    ) = None
    concurrency_key: Id | None = None
    session_policy: Literal["reject", "enqueue", "interrupt", "replace"] | None = None

    @model_validator(mode="after")
    def _one_way_to_a_pool(self) -> JobSpec:
        if self.placement is not None and "pool" in self.model_fields_set:
            message = "pool and placement exclude each other"
            raise ValueError(message)
        return self


# What stands behind `model_validate` and `model_dump`: a job in bulk feels the way through those.
_SPEC: Final = TypeAdapter(JobSpec)
_CONFIGS: Final = {name: TypeAdapter(model).validator for name, model in ADAPTER_CONFIGS.items()}


def _path_of(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "$"


def refusal_of(error: ValidationError, *, prefix: tuple[str, ...] = ()) -> Refused:
    """INVALID_SPEC for the first fault; `prefix` is where in the document the judged part stands."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    path = _path_of((*prefix, *first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "unknown key"
    return Refused(
        ErrorCode.INVALID_SPEC,
        f"{path}: {message}",
        details={"path": path, "faults": error.error_count()},
    )


def adapter_config(name: str, config: dict[str, Any]) -> Strict:
    """The validated config of a shipped adapter.

    Raises:
        Refused: INVALID_SPEC with details.path below `adapter`.
    """
    validator = _CONFIGS.get(name)
    if validator is None:
        known = ", ".join(sorted(ADAPTER_CONFIGS))
        raise Refused(
            ErrorCode.INVALID_SPEC,
            f"adapter.name: no adapter {name!r}; there are {known}",
            details={"path": "adapter.name"},
        )
    try:
        valid: Strict = validator.validate_python(config)
    except ValidationError as error:
        raise refusal_of(error, prefix=("adapter", "config")) from None
    return valid


def parse_spec(document: object) -> JobSpec:
    """A valid spec from a parsed JSON or YAML document.

    Raises:
        Refused: INVALID_SPEC; details.path is the dotted key of the first fault, details.faults their
            number.
    """
    if not isinstance(document, dict):
        raise Refused(
            ErrorCode.INVALID_SPEC,
            f"$: a job spec is an object, not {type(document).__name__}",
            details={"path": "$"},
        )
    try:
        spec: JobSpec = _SPEC.validator.validate_python(document)
    except ValidationError as error:
        raise refusal_of(error) from None
    adapter_config(spec.adapter.name, spec.adapter.config)
    if spec.session_policy is not None and spec.session is None:
        raise Refused(
            ErrorCode.INVALID_SPEC,
            "session_policy: it says how the job meets others of its session, and it has none",
            details={"path": "session_policy"},
        )
    return spec


def content_of(spec: JobSpec) -> dict[str, Any]:
    """What the spec asks for, as JSON values: without defaults, and without what it is called by."""
    content: dict[str, Any] = _SPEC.serializer.to_python(spec, mode="json", exclude_defaults=True)
    content.pop("id", None)
    content.pop("idempotency_key", None)
    return content
