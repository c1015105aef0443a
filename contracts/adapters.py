"""What the adapters that ship with Orch take as `config`, and the words that specs are written in.

Judged with the spec, so that a bad command costs nothing (ADM-6).
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import (
    AnyHttpUrl,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from contracts import limits
from contracts.ids import ID_SCHEMA, is_id


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


Id = Annotated[str, Field(json_schema_extra=dict(ID_SCHEMA)), BeforeValidator(_legal_id)]
Text = Annotated[
    str, Field(json_schema_extra={"pattern": r"^[^\x00]*$"}), BeforeValidator(_bounded_argument)
]
Argv = Annotated[list[Text], Field(min_length=1, max_length=limits.ARGV_MAX)]
Millis = Annotated[int, Field(ge=0, le=limits.DEADLINE_AHEAD_MS_MAX)]
AtMs = Annotated[int, Field(ge=0, le=2**48)]
Env = Annotated[
    dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], Text],
    Field(max_length=256, json_schema_extra={"additionalProperties": False}),
]


def empty(kind: type[list[Any]] | type[dict[str, Any]]) -> Any:
    """The default of a collection. A factory, because pydantic copies a default deeply at every use."""
    return Field(default_factory=kind, json_schema_extra={"default": kind()})


class Strict(BaseModel):
    """A model that refuses unknown keys and silent conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class CommandConfig(Strict):
    """Wrap any command line. Runs `argv` without a shell, in `cwd`, under the guard."""

    argv: Argv
    cwd: Text | None = None
    env: Env = empty(dict)
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
    artifacts: Annotated[list[Text], Field(max_length=limits.ARTIFACTS_PER_JOB_MAX)] = empty(list)
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
    env: Env = empty(dict)
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
    args: list[Any] = empty(list)
    kwargs: dict[str, Any] = empty(dict)
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

    url: Annotated[
        str,
        Field(json_schema_extra={"format": "uri", "maxLength": limits.HTTP_URL_CHARS_MAX}),
        BeforeValidator(_callable_url),
        Field(max_length=limits.HTTP_URL_CHARS_MAX),
    ]
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    headers: Annotated[
        dict[HeaderName, HeaderValue],
        Field(
            max_length=limits.HTTP_HEADERS_MAX, json_schema_extra={"additionalProperties": False}
        ),
    ] = empty(dict)
    secret_headers: Annotated[
        dict[HeaderName, Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]],
        Field(
            max_length=limits.HTTP_HEADERS_MAX, json_schema_extra={"additionalProperties": False}
        ),
    ] = empty(dict)
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
