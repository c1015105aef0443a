"""The control stream: commands pushed, applied in the stream's order, obeyed, acknowledged, and looked up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from contracts.control import Command, ControlList, ControlRecord, parse_command
from contracts.errors import ErrorCode, OrchError, Refused
from contracts.ids import is_id
from contracts.limits import CANCEL_LOOKS_MAX
from orch.core.commands import control_record
from orch.core.desires import plan_of
from orch.store.connection import BlockingReader, Connection

Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The desired state, as far as one instance obeys it."""

    revision: int
    drains: Mapping[str, int | None]
    """Commands that drain it, and in how many ms their time is over."""
    reload: str = ""
    """The last command to reload."""


class Control:
    """Operators' commands."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # -- the way in

    async def push(self, command: Command) -> None:
        """Puts it into the stream; the same call again changes nothing.

        Raises:
            Refused: DUPLICATE_COMMAND; QUEUE_FULL, too many wait.
        """
        reply = await self._connection.call(
            "push",
            command.command_id,
            command.name.value,
            command.target.text,
            command.args_json(),
            "" if command.if_revision is None else command.if_revision,
            command.by,
            command.token,
        )
        if reply[0] == "duplicate":
            raise Refused(
                ErrorCode.DUPLICATE_COMMAND,
                f"a command {command.command_id} was given before",
                details={"id": command.command_id},
            )
        if reply[0] == "full":
            raise Refused(
                ErrorCode.QUEUE_FULL,
                f"{reply[1]} commands wait to be applied; is a scheduler running?",
                details={"waiting": int(reply[1])},
            )

    # -- the scheduler's side

    async def waiting(self, *, most: int) -> list[tuple[str, Fields]]:
        """Entries that nobody has settled, in their order."""
        keys = self._connection.keys
        found = await self._connection.execute("XRANGE", keys.control, "-", "+", "COUNT", most)
        return [(entry_id, _fields_of(fields)) for entry_id, fields in found]

    async def apply(self, entry_id: str, fields: Fields) -> str | None:
        """Carries an entry out, or refuses it with a record; a repeat changes nothing.

        Returns how its record stands; `settled` when somebody did it before; None when an older entry
        waits: that one is next.
        """
        try:
            words = _words_of(parse_command(fields))
        except Refused as refused:
            words = _refusal(entry_id, fields, refused)
        return await self._apply(entry_id, words)

    async def refuse(self, entry_id: str, fields: Fields, error: OrchError) -> str | None:
        """As `apply`, for an entry that cannot be carried out: its record says why."""
        return await self._apply(entry_id, _refusal(entry_id, fields, error))

    async def _apply(self, entry_id: str, words: tuple[str | int, ...]) -> str | None:
        reply = await self._connection.call("apply", entry_id, *words)
        if reply[0] == "behind":
            return None
        return "settled" if reply[0] == "same" else str(reply[1])

    async def proceed(self) -> int:
        """Goes on with cancels by filter, a bounded piece; returns how many are not at their end."""
        reply = await self._connection.call("proceed", CANCEL_LOOKS_MAX)
        if reply[0] == "none":
            return 0
        self._connection.ended(reply[2])
        return int(reply[1])

    # -- an instance's side

    def reader(self, block_ms: int) -> BlockingReader:
        """For `follow`, on a socket of its own."""
        return self._connection.reader(block_ms)

    async def newest(self) -> str:
        """The position after the last revision that was announced."""
        last = await self._connection.execute(
            "XREVRANGE", self._connection.keys.revisions, "+", "-", "COUNT", 1
        )
        return str(last[0][0]) if last else "0-0"

    async def wanted(self, *, pool: str = "", instance_id: str = "") -> Wanted:
        """What is wanted now; drains only of a runner, which names its pool and itself."""
        scopes = ["*", f"pool:{pool}", f"runner:{instance_id}"] if pool else []
        names = [f"{scope}:{word}" for scope in scopes for word in ("drain", "drain_by")]
        found = await self._connection.execute(
            "HMGET", self._connection.keys.desired, "rev", "reload", *names
        )
        pairs = [pair for pair in zip(found[2::2], found[3::2], strict=True) if pair[0]]
        now_ms = await self._now_ms() if any(by for _, by in pairs) else 0
        drains = {command: None if by is None else int(by) - now_ms for command, by in pairs}
        return Wanted(int(found[0] or 0), drains, found[1] or "")

    async def _now_ms(self) -> int:
        # The server's clock, as the deadline is: a runner's may be wrong.
        seconds, micros = await self._connection.execute("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async def acknowledge(
        self,
        instance_id: str,
        revision: int,
        *,
        command_id: str = "",
        failed: bool = False,
        report: Mapping[str, Any] | None = None,
    ) -> None:
        """Says that the instance obeys this revision; with a command, that its work has ended."""
        text = orjson.dumps(report or {}).decode()
        status = "failed" if failed else "done"
        await self._connection.call("acknowledge", instance_id, revision, command_id, status, text)

    # -- looking

    async def command(self, command_id: str) -> ControlRecord:
        """What became of a command.

        Raises:
            Refused: INVALID_ID; NOT_FOUND, also once its record is too old.
        """
        fields = await self._fields(command_id) if is_id(command_id) else {}
        if not fields:
            raise Refused(
                ErrorCode.NOT_FOUND,
                f"there is no command {command_id[:80]!a}",
                hint="`orch control list` shows those of the last seven days.",
            )
        return control_record(command_id, fields)

    async def commands(self, *, limit: int) -> ControlList:
        """The newest commands, newest first."""
        keys = self._connection.keys
        ids = await self._connection.execute("ZRANGE", keys.commands, -limit, -1)
        found = [(one, await self._fields(one)) for one in reversed(ids)]
        revision = await self._connection.execute("HGET", keys.desired, "rev")
        records = [control_record(one, fields) for one, fields in found if fields]
        return ControlList(commands=records, revision=int(revision or 0))

    async def _fields(self, command_id: str) -> dict[str, str]:
        found: dict[str, str] = await self._connection.execute(
            "HGETALL", self._connection.keys.command(command_id)
        )
        return found


def _fields_of(fields: Any) -> dict[str, str]:
    return fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))


def _words_of(command: Command) -> tuple[str | int, ...]:
    plan, target = plan_of(command), command.target
    revision = "" if command.if_revision is None else command.if_revision
    runner = target.ids[0] if target.kind == "runner" else ""
    kind = "works" if plan.works else "cancels" if plan.cancels else ""
    return (
        command.command_id, command.token, command.name.value, target.text, command.args_json(), command.by,
        "", revision, target.pool(), runner, " ".join(plan.roles), plan.only, kind,
        len(plan.writes), *(word for pair in plan.writes for word in pair),
    )  # fmt: skip


def _refusal(entry_id: str, fields: Fields, error: OrchError) -> tuple[str | int, ...]:
    given = fields.get("id", "")
    body = orjson.dumps(error.body()).decode()
    return (
        given if is_id(given) else entry_id, fields.get("token", "")[:64], _shown(fields, "command", 64),
        _shown(fields, "target", 200), _shown(fields, "args", 1_000), _shown(fields, "by", 64),
        body, "", "", "", "", "", "", 0,
    )  # fmt: skip


def _shown(fields: Fields, name: str, most: int) -> str:
    """What somebody wrote there, as text that can be stored and shown: bytes that are no UTF-8 go."""
    return fields.get(name, "")[:most].encode("utf-8", "replace").decode()
