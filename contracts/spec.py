"""What a caller asks for: the job spec, schema v1.

Unknown keys are refused; `parse_spec` turns every fault into one INVALID_SPEC whose details.path names
the key. What an adapter wants in `config` is judged here too, for the adapters that ship with Orch, so
that a bad command costs nothing (ADM-6).
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import (
    AnyHttpUrl,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from contracts import limits
from contracts.errors import ErrorCode, Refused
from contracts.ids import ID_PATTERN, is_id
from contracts.outcomes import Outcome

SCHEMA_VERSION: Final = 1


def _legal_id(value: object) -> object:
    if isinstance(value, str) and not is_id(value):
        message = "must match [A-Za-z0-9][A-Za-z0-9._-]{0,63} without '..'"
        raise ValueError(message)
    return value


def _bounded_argument(value: object) -> object:
    if isinstance(value, str) and "\0" in value:
        message = "must not hold a zero byte"
        raise ValueError(message)
    return value


Id = Annotated[str, BeforeValidator(_legal_id), Field(pattern=ID_PATTERN)]
Text = Annotated[str, BeforeValidator(_bounded_argument)]
Argv = Annotated[list[Text], Field(min_length=1, max_length=limits.ARGV_MAX)]
Millis = Annotated[int, Field(ge=0, le=limits.DEADLINE_AHEAD_MS_MAX)]
AtMs = Annotated[int, Field(ge=0, le=2**48)]
Env = Annotated[
    dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], Text], Field(max_length=256)
]


def _empty(kind: type[list[Any]] | type[dict[str, Any]]) -> Any:
    """The default of a collection. A factory, because pydantic copies a default deeply at every use."""
    return Field(default_factory=kind, json_schema_extra={"default": kind()})


class Strict(BaseModel):
    """A model that refuses unknown keys and silent conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class CommandConfig(Strict):
    """Wrap any command line. Runs `argv` without a shell, in `cwd`, under the guard."""

    argv: Argv
    cwd: Text | None = None
    env: Env = _empty(dict)
    stdin: Text | None = None
    wall_ms: Millis | None = None
    idle_ms: Millis | None = None


class Decision(Strict):
    """A question asked before a step runs; its answer reaches the step as ORCH_ANSWER."""

    text: Annotated[str, Field(min_length=1, max_length=2_000)]
    kind: Literal["approve", "choose", "text"] = "approve"
    options: (
        Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=32)]
        | None
    ) = None

    @model_validator(mode="after")
    def _options_fit_kind(self) -> Decision:
        if (self.kind == "choose") != bool(self.options):
            message = "options belong to kind 'choose', and it needs at least one"
            raise ValueError(message)
        return self


class Step(Strict):
    """One command of a `steps` job. A finished step is never run again."""

    id: Id
    argv: Argv
    artifacts: Annotated[list[Text], Field(max_length=limits.ARTIFACTS_PER_JOB_MAX)] = _empty(list)
    effect: Literal["pure", "side_effect"] = "pure"
    on_unknown: Literal["retry", "ask", "fail"] | None = None
    decision: Decision | None = None

    @property
    def unknown_rule(self) -> Literal["retry", "ask", "fail"]:
        """What happens when it started and nobody knows how it ended (RUN-5)."""
        return self.on_unknown or ("ask" if self.effect == "side_effect" else "retry")


class StepsConfig(Strict):
    """A structured list of commands, run in order."""

    steps: Annotated[list[Step], Field(min_length=1, max_length=limits.STEPS_MAX)]
    cwd: Text | None = None
    env: Env = _empty(dict)
    wall_ms: Millis | None = None
    idle_ms: Millis | None = None

    @model_validator(mode="after")
    def _ids_differ(self) -> StepsConfig:
        seen = [step.id for step in self.steps]
        if len(set(seen)) != len(seen):
            message = "two steps have the same id"
            raise ValueError(message)
        return self


class PythonConfig(Strict):
    """Call `pkg.mod:f`, sync or async, in a worker process, or `inline` in the runner itself."""

    callable: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$", max_length=300)]
    args: list[Any] = _empty(list)
    kwargs: dict[str, Any] = _empty(dict)
    path: Text | None = None
    isolation: Literal["process", "inline"] = "process"
    wall_ms: Millis | None = None


HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")]
HeaderValue = Annotated[
    str, Field(pattern=r"^[\t\x20-\x7e]*$", max_length=limits.HTTP_HEADER_BYTES_MAX)
]
_OUR_HEADERS: Final = frozenset(
    "accept-encoding connection content-length expect host keep-alive orch-attempt orch-fence orch-job-id "
    "proxy-authorization proxy-connection trailer transfer-encoding upgrade".split()
) | {"te"}  # codespell:ignore te
"""Those that say how a message travels, and those that say whose it is."""


def _callable_url(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        url = AnyHttpUrl(value)
    except ValidationError:
        message = "must be a URL: http:// or https://"
        raise ValueError(message) from None
    if url.username is not None or url.password is not None:
        message = "must hold no user and no password; use secret_headers"
        raise ValueError(message)
    if url.fragment is not None:
        message = "must have no fragment"
        raise ValueError(message)
    return value


class HttpConfig(Strict):
    """Call an agent's endpoint, and follow what it answers: JSON, text or a stream of events."""

    url: Annotated[str, BeforeValidator(_callable_url), Field(max_length=limits.HTTP_URL_CHARS_MAX)]
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    headers: Annotated[dict[HeaderName, HeaderValue], Field(max_length=limits.HTTP_HEADERS_MAX)] = (
        _empty(dict)
    )
    secret_headers: Annotated[
        dict[HeaderName, Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]],
        Field(max_length=limits.HTTP_HEADERS_MAX),
    ] = _empty(dict)
    document: Any = Field(default=None, alias="json")
    body: str | None = None
    mode: Literal["json", "openai", "sse"] | None = None
    expect: (
        Annotated[list[Annotated[int, Field(ge=200, le=599)]], Field(min_length=1, max_length=32)]
        | None
    ) = None
    result: Annotated[str, Field(pattern=r"^(/([^~/]|~[01])*)*$", max_length=1_000)] | None = None
    wall_ms: Millis | None = None
    idle_ms: Millis | None = None
    connect_ms: Annotated[int, Field(ge=1, le=limits.HTTP_CONNECT_MS_MAX)] = limits.HTTP_CONNECT_MS

    @property
    def has_document(self) -> bool:
        """Whether `json` was given; null is a document too."""
        return "document" in self.model_fields_set

    @model_validator(mode="after")
    def _one_body(self) -> HttpConfig:
        if self.has_document and self.body is not None:
            message = "json and body are two bodies"
            raise ValueError(message)
        if self.method == "GET" and (self.has_document or self.body is not None):
            message = "a GET carries no body"
            raise ValueError(message)
        if self.result is not None and self.mode in {"openai", "sse"}:
            message = "result points into a JSON answer; this mode is a stream"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _headers_are_free(self) -> HttpConfig:
        names = [name.lower() for name in (*self.headers, *self.secret_headers)]
        if len(set(names)) != len(names):
            message = "two headers have the same name"
            raise ValueError(message)
        taken = sorted(_OUR_HEADERS.intersection(names))
        if taken:
            message = f"the header {taken[0]} is set by Orch"
            raise ValueError(message)
        return self


ADAPTER_CONFIGS: Final[dict[str, type[Strict]]] = {
    "command": CommandConfig,
    "steps": StepsConfig,
    "python": PythonConfig,
    "http": HttpConfig,
}


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
    pools: Annotated[list[Id], Field(max_length=limits.POOLS_MAX)] = _empty(list)
    avoid: Annotated[list[Id], Field(max_length=limits.POOLS_MAX)] = _empty(list)
    requires: Annotated[list[Id], Field(max_length=limits.CAPABILITIES_MAX)] = _empty(list)

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
            Field(max_length=limits.LABELS_MAX),
        ]
        | None
    ) = None
    idempotency_key: (
        Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")] | None
    ) = None
    concurrency_key: Id | None = None

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
    return spec


def content_of(spec: JobSpec) -> dict[str, Any]:
    """What the spec asks for, as JSON values: without defaults, and without what it is called by."""
    content: dict[str, Any] = _SPEC.serializer.to_python(spec, mode="json", exclude_defaults=True)
    content.pop("id", None)
    content.pop("idempotency_key", None)
    return content
