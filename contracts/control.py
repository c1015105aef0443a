"""What operators can say on the control stream, and what they read back.

One command is a name, a target and arguments; `parse_command` turns any entry of the stream into one, or into
one refusal that names what is wrong. What a command writes is `orch/core/desires.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, cast

from pydantic import Field, ValidationError, model_validator

from contracts import limits
from contracts.adapters import Id, Millis, Strict
from contracts.commands import CommandName, CommandStatus
from contracts.errors import ErrorCode, Refused
from contracts.ids import is_id
from contracts.overrides import LIMITS
from contracts.record import ErrorBody, View
from contracts.states import TERMINAL, State

VERSION: Final = "1"
FIELDS: Final = frozenset({"v", "id", "command", "target", "args", "if_revision", "by", "token"})
"""Of an entry; `token` is the gateway's own, which makes its push repeatable."""


Kind = Literal["all", "pool", "queue", "tenant", "runner", "key"]


@dataclass(frozen=True, slots=True)
class Target:
    """What a command is about: a kind, and the ids that name one of it."""

    kind: Kind
    ids: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """As it is written: `pool:gpu`."""
        return ":".join((self.kind, *self.ids)) if self.ids else "*"

    def pool(self) -> str:
        """The pool that it names, or an empty string."""
        return self.ids[0] if self.kind in {"pool", "queue"} else ""


_IDS: Final[Mapping[str, int]] = MappingProxyType(
    {"pool": 1, "queue": 2, "tenant": 1, "runner": 1, "key": 2}
)
_SHAPES: Final = "pool:POOL, queue:POOL:CLASS, tenant:TENANT, runner:INSTANCE, key:TENANT:KEY or *"


def parse_target(text: str) -> Target:
    """The target that a text names.

    Raises:
        Refused: INVALID_REQUEST at `target`.
    """
    if text == "*":
        return Target("all")
    kind, _, rest = text.partition(":")
    ids = tuple(rest.split(":"))
    if len(ids) != _IDS.get(kind) or not all(is_id(one) for one in ids):
        raise _refused("target", f"{text[:80]!a} is none of {_SHAPES}")
    return Target(cast("Kind", kind), ids)


class NoArgs(Strict):
    """A command without arguments."""


class DrainArgs(Strict):
    """Until when what runs may finish; without, as long as it takes."""

    deadline_ms: Millis | None = None


class GateArgs(Strict):
    """Which gate is closed or opened."""

    what: Literal["intake", "dispatch", "both"] = "both"


class CancelFilter(Strict):
    """Which live jobs are meant; what is left out means any, and the target narrows it further."""

    tenant: Id | None = None
    pool: Id | None = None
    state: Annotated[State, Field(strict=False)] | None = None
    label: Annotated[str, Field(min_length=1, max_length=limits.LABEL_CHARS_MAX * 2)] | None = None
    """`key=value`, or `key` alone for any value."""
    name: Annotated[str, Field(min_length=1, max_length=limits.NAME_CHARS_MAX)] | None = None

    @model_validator(mode="after")
    def _can_end(self) -> CancelFilter:
        if self.state in TERMINAL:
            message = f"a {self.state} job is over"
            raise ValueError(message)
        return self


class CancelArgs(Strict):
    """What to cancel; `dry_run` only counts."""

    filter: CancelFilter = CancelFilter()
    dry_run: bool = False


class SetLimitArgs(Strict):
    """A limit of LIMITS and its new value."""

    limit: str
    value: int | float | str | None


ARGS: Final[Mapping[CommandName, type[Strict]]] = MappingProxyType(
    {
        CommandName.DRAIN: DrainArgs,
        CommandName.UNDRAIN: NoArgs,
        CommandName.PAUSE: GateArgs,
        CommandName.RESUME: GateArgs,
        CommandName.CANCEL: CancelArgs,
        CommandName.SET_LIMIT: SetLimitArgs,
        CommandName.RELOAD: NoArgs,
    }
)
TARGETS: Final[Mapping[CommandName, frozenset[str]]] = MappingProxyType(
    {
        CommandName.DRAIN: frozenset({"pool", "runner", "all"}),
        CommandName.UNDRAIN: frozenset({"pool", "runner", "all"}),
        CommandName.PAUSE: frozenset({"pool", "queue", "tenant", "all"}),
        CommandName.RESUME: frozenset({"pool", "queue", "tenant", "all"}),
        CommandName.CANCEL: frozenset({"pool", "queue", "tenant", "all"}),
        CommandName.SET_LIMIT: frozenset({"pool", "queue", "tenant", "key"}),
        CommandName.RELOAD: frozenset({"pool", "all"}),
    }
)


class CommandRequest(Strict):
    """A command over HTTP. Without `id` the gateway makes one."""

    id: Id | None = None
    command: Annotated[str, Field(max_length=64, json_schema_extra={"enum": list(CommandName)})]
    target: Annotated[str, Field(max_length=200)] = "*"
    args: Annotated[dict[str, Any], Field(max_length=16)] = Field(default_factory=dict)
    if_revision: Annotated[int, Field(ge=0, le=2**53)] | None = None


class DrainRequest(DrainArgs):
    """Body of the drain of one pool; may be left out."""


class GateRequest(GateArgs):
    """Body of pause and resume of one pool; may be left out."""


@dataclass(frozen=True, slots=True)
class Command:
    """A valid command."""

    command_id: str
    name: CommandName
    target: Target
    args: Strict
    if_revision: int | None = None
    by: str = "control"
    token: str = ""

    def args_json(self) -> str:
        """Its arguments, without what the caller left out."""
        return self.args.model_dump_json(exclude_none=self.name is not CommandName.SET_LIMIT)


def parse_command(fields: Mapping[str, str]) -> Command:
    """The command that the fields of a stream entry are.

    Raises:
        Refused: INVALID_REQUEST, details.path names the field; INVALID_ID.
    """
    unknown = sorted(fields.keys() - FIELDS)
    if unknown:
        raise _refused(ascii(unknown[0])[1:-1][:80], "no field of a command")
    if fields.get("v") != VERSION:
        raise _refused("v", f"{fields.get('v', '')[:40]!a} is no version of a command; there is 1")
    command_id = fields.get("id", "")
    if not is_id(command_id):
        raise Refused(
            ErrorCode.INVALID_ID, f"not a legal command id: {command_id[:80]!a}", details={"what": "command"}
        )  # fmt: skip
    return make_command(
        command_id,
        fields.get("command", ""),
        fields.get("target", ""),
        _document(fields.get("args", "{}")),
        if_revision=_revision(fields.get("if_revision")),
        by=_by(fields.get("by", "control")),
        token=fields.get("token", ""),
    )


def make_command(
    command_id: str,
    name: str,
    target: str,
    args: object,
    *,
    if_revision: int | None = None,
    by: str = "control",
    token: str = "",
) -> Command:
    """A command from its parts, judged.

    Raises:
        Refused: INVALID_REQUEST, details.path names the part.
    """
    known = _name(name)
    aim = parse_target(target)
    if aim.kind not in TARGETS[known]:
        kinds = ", ".join(sorted(TARGETS[known]))
        raise _refused("target", f"{known} takes a target of {kinds}, not {aim.text}")
    given = _args(known, args)
    if isinstance(given, SetLimitArgs):
        _check_limit(given, aim)
    if isinstance(given, CancelArgs) and aim.kind == "all" and given.filter == CancelFilter():
        raise _refused("args.filter", "say which jobs: an empty filter on * would end every job")
    return Command(command_id, known, aim, given, if_revision, by, token)


def _name(text: str) -> CommandName:
    if text in set(CommandName):
        return CommandName(text)
    if text == "kill-switch":
        raise _refused("command", "kill-switch is not built yet; `pause` stops intake and dispatch")
    known = ", ".join(CommandName)
    raise _refused("command", f"{text[:40]!a} is none of {known}")


def _args(name: CommandName, args: object) -> Strict:
    try:
        given = ARGS[name].model_validate(args)
        given.model_dump_json()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(["args", *(ascii(part).strip("'")[:80] for part in first["loc"])])
        raise _refused(path, first["msg"]) from None
    except ValueError:
        raise _refused("args", "a text has no UTF-8 form") from None
    return given


def _check_limit(given: SetLimitArgs, aim: Target) -> None:
    bound = LIMITS.get(given.limit)
    if bound is None:
        raise _refused("args.limit", f"{given.limit[:40]!a} is none of {', '.join(LIMITS)}")
    if aim.kind not in bound.targets:
        kinds = " or ".join(sorted(bound.targets))
        raise _refused("target", f"{given.limit} is a limit of a {kinds}, not of {aim.text}")
    if given.value is not None and not bound.takes(given.value):
        raise _refused("args.value", f"{given.limit} must be {bound.words()}, or null")


def _document(text: str) -> object:
    if len(text) > limits.COMMAND_ARGS_BYTES_MAX:
        raise _refused("args", f"at most {limits.COMMAND_ARGS_BYTES_MAX} bytes")
    try:
        return json.loads(text, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError):
        raise _refused("args", "not valid JSON, or a key twice") from None


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError
    return document


def _revision(text: str | None) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,15}", text, re.ASCII):
        raise _refused("if_revision", "a whole number: `rev` of the desired state")
    return int(text)


def _by(text: str) -> str:
    if not is_id(text):
        raise _refused("by", f"not a legal name: {text[:80]!a}")
    return text


def _refused(path: str, message: str) -> Refused:
    return Refused(ErrorCode.INVALID_REQUEST, f"{path}: {message}", details={"path": path})


# ---------------------------------------------------------------- what is read back


class Commanded(View):
    """The answer to a command over HTTP: where to look for what became of it."""

    command_id: str


class ControlRecord(View):
    """What became of one command."""

    command_id: str
    command: str
    target: str
    args: Any
    by: str
    status: CommandStatus
    revision: int | None
    """The revision of the desired state that it made; None while, or if, it made none."""
    expected: list[str]
    """Instances that it concerned when it was applied."""
    acked: list[str]
    waiting: list[str]
    """Those that have not acknowledged, or whose work goes on; the buried are not waited for."""
    outcome: dict[str, Any] | None
    error: ErrorBody | None
    at_ms: int
    applied_at_ms: int | None
    ended_at_ms: int | None


class ControlList(View):
    """Commands, newest first."""

    commands: list[ControlRecord]
    revision: int
