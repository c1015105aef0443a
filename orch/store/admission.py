"""Admission: the one function every door goes through (ADM-1).

A document is judged here (schema, size, digest) and then, in one function call, against what is stored
(duplicates, pools, capacity). A refusal is a value of its item and costs the others nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

import anyio.lowlevel
import orjson

from contracts import limits
from contracts.errors import ErrorCode, Refused
from contracts.record import Submitted
from contracts.spec import JobSpec, content_of, parse_spec
from orch.core.asks import Ask
from orch.core.bounds import Bounds
from orch.core.canonical import digest
from orch.core.placement import Placed
from orch.core.scheduling import SchedulingPolicy
from orch.core.tracing import with_carried
from orch.ports import Ids
from orch.store.aside import Aside
from orch.store.connection import Connection
from orch.store.placements import Placements
from orch.store.refusals import refused_of, submitted_of
from orch.store.submissions import Submissions

TOGETHER: Final = 250
"""Items of one call: by then they share what a call costs once, and the next can be judged meanwhile."""
_LOOK_EVERY: Final = 50
"""Items judged between two looks at what the socket still has to send."""


class _Item(NamedTuple):
    """A judged submission, ready for the function."""

    job_id: str
    args: tuple[str | int, ...]
    bytes: int


Choices: TypeAlias = Mapping[int, Placed | Refused]
"""By identity of the ask."""


class Admission:
    """Makes jobs durable, or says why not."""

    def __init__(
        self,
        connection: Connection,
        ids: Ids,
        policy: SchedulingPolicy,
        *,
        actor: str,
        bounds: Bounds,
    ) -> None:
        self._connection = connection
        self._ids = ids
        self._policy = policy
        self._policy_text = policy.text()
        self._actor = actor
        self._bounds = bounds.text()
        self.submissions = Submissions(full_policy=bounds.full_policy)
        """What became of them in this process, at every door."""

    async def admit(self, asks: Sequence[Ask]) -> list[Submitted | Refused]:
        """Answers in the order of `asks`; an accepted job is durable when this returns.

        Raises:
            Unavailable: the server was not reached; which of the asks were admitted is unknown, and
                asking again with the same ids or idempotency keys is safe.
        """
        answers: list[Submitted | Refused] = []
        placed = await choices_for(self._connection, asks)
        judged = [self._judge(ask, placed) for ask in asks[:TOGETHER]]
        for at in range(TOGETHER, len(asks), TOGETHER):
            # While the server works on one part the next is judged; one call at a time keeps the order.
            admitting = Aside(partial(self._admit_judged, judged))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(admitting.run)
                judged = []
                for ask in asks[at : at + TOGETHER]:
                    if len(judged) % _LOOK_EVERY == 0:
                        await anyio.lowlevel.checkpoint()
                    judged.append(self._judge(ask, placed))
            answers += admitting.answer()
        return answers + await self._admit_judged(judged)

    async def _admit_judged(self, judged: Sequence[_Item | Refused]) -> list[Submitted | Refused]:
        items = [one for one in judged if isinstance(one, _Item)]
        replies = [reply for batch in _batches(items) for reply in await self._admit_batch(batch)]
        following = iter(replies)
        answers = [one if isinstance(one, Refused) else _answer(next(following)) for one in judged]
        self.submissions.answered(answers)
        return answers

    def _judge(self, ask: Ask, choices: Choices) -> _Item | Refused:
        try:
            return self._item(ask, _spec_of(ask), choices.get(id(ask)))
        except Refused as refused:
            return refused

    def _item(self, ask: Ask, spec: JobSpec, choice: Placed | Refused | None) -> _Item:
        key = spec.idempotency_key
        content = content_of(spec)
        text = with_carried(_encoded(content), ask.carried)
        class_name = self._policy.class_of(spec.priority)
        # An id of our own choosing needs no nonce: nobody else can repeat the call with it.
        nonce = self._ids.token() if spec.id or key else ""
        job_id = spec.id or ask.job_id or self._ids.job_id()
        pool, placed = _pool_of(spec, choice)
        return _Item(
            job_id,
            (
                job_id,
                digest(content),
                spec.tenant,
                pool,
                class_name,
                text,
                spec.not_before_ms or 0,
                spec.deadline_ms or 0,
                key or "",
                nonce,
                ask.entry_id,
                ask.request_id,
                placed,
                _ties(spec),
            ),
            len(text),
        )

    async def _admit_batch(self, items: Sequence[_Item]) -> list[list[Any]]:
        flat = [arg for item in items for arg in item.args]
        reply = await self._connection.call(
            "admit", *self.head, self._ids.token(), len(items), *flat
        )
        answers: list[list[Any]] = reply[1]
        self.submissions.gave_way(reply[2])
        self._connection.ended(reply[3])
        return answers

    async def overflow(self, *, most: int) -> int:
        """Refuses the youngest raw requests beyond the bound of their stream; how many."""
        reply = await self._connection.call("overflow", most)
        refused = 0 if reply[0] == "none" else int(reply[1])
        self.submissions.turned_away("requests-backlog", refused)
        return refused

    @property
    def head(self) -> tuple[str | int, ...]:
        """What every function that admits is told before its items."""
        return self._actor, self._policy_text, self._bounds

    def check(self, ask: Ask) -> None:
        """Judges the document as `admit` does, but not what it is told of the store.

        Raises:
            Refused: it would be refused.
        """
        self._item(ask, _spec_of(ask), None)

    def words(self, ask: Ask, choices: Choices) -> tuple[str | int, ...]:
        """One item as such a function takes it.

        Raises:
            Refused: it is refused before anything stored is asked.
        """
        return self._item(ask, _spec_of(ask), choices.get(id(ask))).args

    async def refuse(self, entry_id: str, request_id: str, refused: Refused) -> None:
        """Answers a raw request that is no valid spec, and settles its stream entry."""
        body = orjson.dumps(refused.body(request_id)).decode()
        await self._connection.call("refuse", entry_id, request_id, body)


async def choices_for(connection: Connection, asks: Sequence[Ask]) -> Choices:
    """Choices for those whose spec describes its pool; few do, and the others cost nothing."""
    placements = Placements(connection)
    choices: dict[int, Placed | Refused] = {}
    for ask in asks:
        if not isinstance(ask.document, dict) or ask.document.get("placement") is None:
            continue
        try:
            choices[id(ask)] = await placements.choose(_spec_of(ask))
        except Refused as refused:
            choices[id(ask)] = refused
    await placements.remember()
    return choices


def _pool_of(spec: JobSpec, choice: Placed | Refused | None) -> tuple[str, str]:
    """The pool, and what the ledger says of the choice.

    Without a fitting pool the function still looks whether the job is there already: who asks again for an
    accepted job hears of it, whatever became of the pools.
    """
    if choice is None:
        return spec.pool, ""
    if isinstance(choice, Refused):
        return "", orjson.dumps(choice.details or {}).decode()
    return choice.pool, orjson.dumps({"pool": choice.pool, "why": choice.why}).decode()


def _ties(spec: JobSpec) -> str:
    """What else binds the job, as tie.lua reads it; `p:` is how it meets the others of its session."""
    if spec.session is None and spec.concurrency_key is None:
        return ""
    said = {"k": spec.concurrency_key, "s": spec.session, "p": spec.session_policy}
    return " ".join(f"{letter}:{word}" for letter, word in said.items() if word is not None)


def _spec_of(ask: Ask) -> JobSpec:
    """The spec, judged by its schema and by whose it may be.

    Raises:
        Refused: INVALID_SPEC, PAYLOAD_TOO_LARGE; TENANT_MISMATCH.
    """
    spec = parse_spec(_completed(ask))
    if ask.tenant not in {None, spec.tenant}:
        message = "the spec's tenant is not the caller's"
        raise Refused(ErrorCode.TENANT_MISMATCH, message, details={"path": "tenant"})
    return spec


def _completed(ask: Ask) -> object:
    """The document with the header's key and the caller's tenant in it, which so obey the schema's bounds."""
    if not isinstance(ask.document, dict):
        return ask.document
    if ask.tenant is not None and "tenant" not in ask.document:
        return _with_key(ask, {**ask.document, "tenant": ask.tenant})
    return _with_key(ask, ask.document)


def _with_key(ask: Ask, document: dict[str, Any]) -> dict[str, Any]:
    key = ask.idempotency_key
    return document if key is None else {**document, "idempotency_key": key}


def _encoded(content: dict[str, Any]) -> str:
    try:
        text = orjson.dumps(content)
    except TypeError as error:
        raise Refused(
            ErrorCode.INVALID_SPEC, f"not representable as JSON: {error}", details={"path": "$"}
        ) from error
    if len(text) > limits.SPEC_BYTES_MAX:
        raise Refused(
            ErrorCode.PAYLOAD_TOO_LARGE,
            f"a spec has at most {limits.SPEC_BYTES_MAX} bytes, this one {len(text)}",
            details={"bytes": len(text), "bytes_max": limits.SPEC_BYTES_MAX},
        )
    return text.decode()


def _batches(items: Sequence[_Item]) -> Iterator[list[_Item]]:
    batch: list[_Item] = []
    size = 0
    for item in items:
        if batch and size + item.bytes > limits.SUBMISSIONS_BYTES_MAX:
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += item.bytes
    if batch:
        yield batch


def _answer(reply: list[Any]) -> Submitted | Refused:
    return refused_of(reply) if reply[0] == "refused" else submitted_of(reply)
