"""Schedules: stored, listed, taken away, and carried out one time a call.

What comes when is decided in `orch.core` by the server's time; here it is asked and written. A schedule that
changed between the reading and the writing is read again, or left to whoever changed it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from contracts import limits
from contracts.errors import ErrorCode, Refused, Unavailable
from contracts.ids import checked_id
from contracts.schedules import (
    Counts,
    Fate,
    FireAnswer,
    Fired,
    Schedule,
    ScheduleList,
    ScheduleSpec,
    of_template,
    parse_schedule,
    schedule_content,
)
from contracts.spec import content_of
from orch.core.asks import Ask, ScheduleFilter
from orch.core.calendar import fields_of, sentence_of, zone_of
from orch.core.derived import job_id_of_fire
from orch.core.firing import Firing, first_time
from orch.core.ledger import parse_entry
from orch.core.tracing import Carried
from orch.ports import Ids
from orch.store.admission import Admission, choices_for
from orch.store.connection import Connection
from orch.store.cursors import cursor_in, cursor_out, newest_of_tenants
from orch.store.refusals import refused_of

_TRIES: Final = 5
"""Readings of a schedule that changes under the reader."""


@dataclass(frozen=True, slots=True)
class Timetable:
    """A schedule as it was read, and the server's time then."""

    spec: ScheduleSpec
    revision: str
    next_ms: int | None
    last_ms: int | None
    read_at_ms: int


def no_such_schedule(schedule_id: str) -> Refused:
    """The refusal for a schedule nobody knows."""
    details = {"schedule_id": schedule_id}
    return Refused(ErrorCode.NOT_FOUND, f"there is no schedule {schedule_id}", details=details)


class Schedules:
    """The schedules of all tenants."""

    def __init__(self, connection: Connection, ids: Ids, admission: Admission) -> None:
        self._connection = connection
        self._ids = ids
        self._admission = admission

    # -- what people do

    async def put(self, document: object, *, if_revision: int | None = None) -> Schedule:
        """Stores a schedule, new or in place of the one of its id; the same again changes nothing.

        Raises:
            Refused: INVALID_SPEC, nothing is stored; REVISION_CONFLICT, it is not at `if_revision`
                (0: it exists); INVALID_REQUEST, the tenant has as many as it may have.
        """
        spec = parse_schedule(document)
        fields_of(spec.cron)
        zone_of(spec.time_zone)
        try:
            self._admission.check(_ask(spec, None))
        except Refused as refused:
            raise of_template(refused) from None
        return await self._set(spec, if_revision)

    async def pause(self, tenant: str, schedule_id: str) -> Schedule:
        """It makes no jobs until it is resumed, and none later for the times between.

        Raises:
            Refused: INVALID_ID; NOT_FOUND.
        """
        return await self._hold(tenant, schedule_id, paused=True)

    async def resume(self, tenant: str, schedule_id: str) -> Schedule:
        """It goes on with its next time.

        Raises:
            Refused: INVALID_ID; NOT_FOUND.
        """
        return await self._hold(tenant, schedule_id, paused=False)

    async def delete(self, tenant: str, schedule_id: str) -> Schedule:
        """Takes it away, and says what it was; its jobs stay.

        Raises:
            Refused: INVALID_ID; NOT_FOUND.
        """
        gone = await self.get(tenant, schedule_id)
        await self._connection.call("unschedule", tenant, schedule_id)
        return gone

    async def fire_now(
        self,
        tenant: str,
        schedule_id: str,
        *,
        key: str | None = None,
        carried: Carried | None = None,
    ) -> FireAnswer:
        """Makes a job now, by the same rules as at its times, which stay as they are. `carried` is what the
        job takes along.

        The job bears `key`: under the same one this schedule's template, unchanged, makes no second job, and
        the first is the answer as long as it is kept. A fire that made no job leaves its key free.

        Raises:
            Refused: INVALID_ID; NOT_FOUND; what admission says to its job; IDEMPOTENCY_CONFLICT, the key
                stands for another template, schedule or submission.
        """
        job_id = self._ids.job_id()
        for _ in range(_TRIES):
            table = await self._read(tenant, schedule_id)
            now = Firing(0, table.read_at_ms, None, makes_job=True, missed=0)
            fired = await self._fire(table, now, _ask(table.spec, job_id, key, carried))
            if isinstance(fired, FireAnswer):
                return fired
            if fired is not None:
                return FireAnswer(**fired.model_dump())
        raise _restless(schedule_id)

    # -- what readers see

    async def get(self, tenant: str, schedule_id: str) -> Schedule:
        """The schedule.

        Raises:
            Refused: INVALID_ID; NOT_FOUND.
        """
        return _view(await self._fields(tenant, schedule_id))

    async def page(self, *, tenant: str | None, limit: int, cursor: str | None) -> ScheduleList:
        """A page, newest first; `tenant` None means all.

        Raises:
            Refused: INVALID_REQUEST, a cursor of another list or none of ours.
        """
        limit = max(1, min(limit, limits.PAGE_ITEMS_MAX))
        which = ScheduleFilter(tenant)
        keys, before = self._connection.keys, cursor_in(which, cursor)
        listed = await newest_of_tenants(self._connection, tenant, keys.schedules, before, limit)
        places = [keys.schedule(of_tenant, schedule_id) for _, of_tenant, schedule_id in listed]
        found = [await self._connection.execute("HGETALL", key) for key in places]
        more = len(listed) == limit
        return ScheduleList(
            schedules=[_view(fields) for fields in found if fields],
            next_cursor=cursor_out(which, listed[-1][0]) if more else None,
        )

    # -- what the scheduler does

    async def due(self, tenant: str, schedule_id: str) -> Timetable | None:
        """What is to be carried out, if the schedule is still there and its time is set.

        Raises:
            Refused: the stored document is none that this version knows.
        """
        try:
            table = await self._read(tenant, schedule_id)
        except Refused as refused:
            if refused.code is ErrorCode.NOT_FOUND:
                return None
            raise
        return table if table.next_ms is not None else None

    async def fire(
        self, table: Timetable, firing: Firing, carried: Carried | None = None
    ) -> Fired | None:
        """Carries out one time; None when somebody else did, or the schedule changed. `carried` is what its
        job takes along."""
        spec = table.spec
        job_id = job_id_of_fire(spec.tenant, spec.schedule_id, firing.fire_at_ms)
        try:
            return await self._fire(table, firing, _ask(spec, job_id, carried=carried))
        except Refused as refused:
            if refused.code is ErrorCode.NOT_FOUND:
                return None
            raise

    # -- how

    async def _hold(self, tenant: str, schedule_id: str, *, paused: bool) -> Schedule:
        for _ in range(_TRIES):
            table = await self._read(tenant, schedule_id)
            held = table.spec.model_copy(update={"paused": paused})
            try:
                return await self._set(held, int(table.revision))
            except Refused as refused:
                if refused.code is not ErrorCode.REVISION_CONFLICT:
                    raise
        raise _restless(schedule_id)

    async def _set(self, spec: ScheduleSpec, if_revision: int | None) -> Schedule:
        about = orjson.dumps(schedule_content(spec)).decode()
        required = "" if if_revision is None else str(if_revision)
        for _ in range(_TRIES):
            now_ms = await self._now_ms()
            last = await self._last(spec)
            next_ms = first_time(spec, now_ms=now_ms, last_ms=last)
            if next_ms is None and not spec.paused:
                path = "cron" if spec.end_at_ms is None else "end_at_ms"
                raise _invalid(path, "no time of this schedule is left")
            words = (about, int(spec.paused), next_ms or 0, "" if last is None else last, required)
            # Which pool fits a placement is seen when a job is made.
            pool = "" if spec.spec.placement is not None else spec.spec.pool
            reply = await self._connection.call(
                "schedule", spec.tenant, spec.schedule_id, *words, pool
            )
            if reply[0] != "moved":
                await self._raise_for(reply, spec)
                return await self.get(spec.tenant, spec.schedule_id)
        raise _restless(spec.schedule_id)

    async def _raise_for(self, reply: list[Any], spec: ScheduleSpec) -> None:
        if reply[0] == "conflict":
            raise Refused(
                ErrorCode.REVISION_CONFLICT,
                f"schedule {spec.schedule_id} is at revision {reply[1]}",
                details={"schedule_id": spec.schedule_id, "revision": int(reply[1])},
            )
        if reply[0] == "no_pool":
            raise _invalid("spec.pool", f"there is no pool {spec.spec.pool}")
        if reply[0] == "full":
            most = limits.SCHEDULES_PER_TENANT_MAX
            raise Refused(
                ErrorCode.INVALID_REQUEST,
                f"tenant {spec.tenant} has {most} schedules, more are not allowed",
                details={"schedules_max": most},
            )

    async def _fire(self, table: Timetable, firing: Firing, ask: Ask) -> Fired | None:
        spec = table.spec
        item = await self._item(ask) if firing.makes_job else ()
        head = (*self._admission.head, spec.tenant, spec.schedule_id, table.revision)
        times = (firing.expected_ms, firing.fire_at_ms, firing.next_at_ms or 0, firing.missed)
        reply = await self._connection.call("fire", *head, *times, spec.overlap.value, *item)
        if reply[0] == "unknown":
            raise no_such_schedule(spec.schedule_id)
        if reply[0] in {"moved", "early"}:
            return None
        if reply[0] == "refused":
            raise self._counted(refused_of(reply))
        if reply[0] == "duplicate":
            return await self._first(spec, str(reply[1]))
        if reply[0] == "ok":
            self._connection.ended(reply[2])
        fired = Fired.model_validate_json(reply[1])
        self._admission.submissions.fired(fired, is_copy=reply[0] == "same")
        if fired.by_hand and fired.result is Fate.REFUSED and fired.code is not None:
            raise Refused(fired.code, fired.message or "")
        return fired

    async def _first(self, spec: ScheduleSpec, job_id: str) -> FireAnswer | None:
        """What was said when this job was made; None: it is gone since it was found."""
        key = self._connection.keys.job(job_id)
        digest, entry = await self._connection.execute("HMGET", key, "digest", "1")
        if entry is None:
            return None
        made = parse_entry(1, entry)
        if made.payload.get("schedule_id") != spec.schedule_id:
            refused = Refused(
                ErrorCode.IDEMPOTENCY_CONFLICT,
                f"the key stands for job {job_id}, which is no fire of schedule {spec.schedule_id}",
                details={"job_id": job_id, "digest": digest, "other_digest": digest},
            )
            raise self._counted(refused)
        answer = FireAnswer(
            result=Fate.FIRED,
            fire_at_ms=made.payload["fire_at_ms"],
            at_ms=made.at_ms,
            by_hand=True,
            job_id=job_id,
            duplicate=True,
        )
        self._admission.submissions.fired(answer, is_copy=True)
        return answer

    def _counted(self, refused: Refused) -> Refused:
        self._admission.submissions.answered([refused])
        return refused

    async def _item(self, ask: Ask) -> tuple[str | int, ...]:
        choices = await choices_for(self._connection, [ask])
        try:
            return self._admission.words(ask, choices)
        except Refused as refused:  # a class that is no longer configured
            return refused.code.value, refused.message

    async def _now_ms(self) -> int:
        seconds, micros = await self._connection.execute("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async def _last(self, spec: ScheduleSpec) -> int | None:
        key = self._connection.keys.schedule(spec.tenant, spec.schedule_id)
        last = await self._connection.execute("HGET", key, "last")
        return None if last is None else int(last)

    async def _fields(self, tenant: str, schedule_id: str) -> dict[str, str]:
        key = self._connection.keys.schedule(
            checked_id(tenant, what="tenant"), checked_id(schedule_id, what="schedule")
        )
        fields: dict[str, str] = await self._connection.execute("HGETALL", key)
        if not fields:
            raise no_such_schedule(schedule_id)
        return fields

    async def _read(self, tenant: str, schedule_id: str) -> Timetable:
        fields = await self._fields(tenant, schedule_id)
        # Read after the hash: what is due by it was due then.
        return replace(_timetable(fields), read_at_ms=await self._now_ms())


def _invalid(path: str, message: str) -> Refused:
    return Refused(ErrorCode.INVALID_SPEC, f"{path}: {message}", details={"path": path})


def _restless(schedule_id: str) -> Unavailable:
    return Unavailable(ErrorCode.UNAVAILABLE, f"schedule {schedule_id} changes all the time")


def _ask(
    spec: ScheduleSpec,
    job_id: str | None,
    key: str | None = None,
    carried: Carried | None = None,
) -> Ask:
    return Ask(content_of(spec.spec), key, job_id=job_id, carried=carried)


def _optional(fields: Mapping[str, str], name: str) -> int | None:
    return int(fields[name]) if name in fields else None


def _timetable(fields: Mapping[str, str]) -> Timetable:
    document = {**orjson.loads(fields["about"]), "paused": fields["paused"] == "1"}
    return Timetable(
        spec=parse_schedule(document),
        revision=fields["rev"],
        next_ms=_optional(fields, "next"),
        last_ms=_optional(fields, "last"),
        read_at_ms=0,
    )


def _view(fields: Mapping[str, str]) -> Schedule:
    table = _timetable(fields)
    spec = table.spec
    return Schedule(
        schedule_id=spec.schedule_id,
        tenant=spec.tenant,
        cron=spec.cron,
        time_zone=spec.time_zone,
        sentence=sentence_of(spec.cron),
        spec=content_of(spec.spec),
        overlap=spec.overlap,
        missed_runs=spec.missed_runs,
        start_at_ms=spec.start_at_ms,
        end_at_ms=spec.end_at_ms,
        paused=spec.paused,
        revision=int(fields["rev"]),
        created_at_ms=int(fields["made_at"]),
        changed_at_ms=int(fields["changed_at"]),
        next_fire_at_ms=table.next_ms,
        last_fire_at_ms=table.last_ms,
        last_job_id=fields.get("job"),
        last=Fired.model_validate_json(fields["said"]) if "said" in fields else None,
        counts=Counts(**{fate.value: int(fields.get(fate.value, 0)) for fate in Fate}),
    )
