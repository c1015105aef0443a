"""The store as one value: a connection and the families of verbs over it."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.limits import TICK_MS
from orch.core.scheduling import SchedulingPolicy
from orch.ports import Ids
from orch.store.admission import Admission
from orch.store.claims import Claims
from orch.store.connection import Connection
from orch.store.dead_letters import DeadLetters
from orch.store.deliveries import Deliveries
from orch.store.feed import Feed
from orch.store.leases import Leases
from orch.store.outcomes import Outcomes
from orch.store.output import Output
from orch.store.reading import Reading
from orch.store.repairs import Repairs
from orch.store.schedules import Schedules
from orch.store.steering import Questions, Steering
from orch.store.timers import Timers
from orch.store.webhooks import Webhooks


@dataclass(frozen=True, slots=True)
class Store:
    """Everything an actor may ask Redis for."""

    connection: Connection
    admission: Admission
    claims: Claims
    dead_letters: DeadLetters
    deliveries: Deliveries
    feed: Feed
    leases: Leases
    outcomes: Outcomes
    output: Output
    questions: Questions
    reading: Reading
    repairs: Repairs
    schedules: Schedules
    steering: Steering
    timers: Timers
    webhooks: Webhooks


def open_store(
    connection: Connection, ids: Ids, policy: SchedulingPolicy, *, actor: str, queue_jobs_max: int
) -> Store:
    """The store for one actor; `actor` is the name in the ledger entries it causes."""
    output = Output(connection)
    reading = Reading(connection, output)
    admission = Admission(connection, ids, policy, actor=actor, queue_jobs_max=queue_jobs_max)
    return Store(
        connection=connection,
        admission=admission,
        claims=Claims(connection, policy),
        dead_letters=DeadLetters(
            connection, ids, policy, actor=actor, queue_jobs_max=queue_jobs_max
        ),
        deliveries=Deliveries(connection),
        feed=Feed(connection, block_ms_max=10 * TICK_MS),
        leases=Leases(connection),
        outcomes=Outcomes(connection, policy),
        output=output,
        questions=Questions(connection, reading, ids, policy, actor=actor),
        reading=reading,
        repairs=Repairs(connection, policy),
        schedules=Schedules(connection, ids, admission),
        steering=Steering(connection, reading, policy, actor=actor),
        timers=Timers(connection, policy),
        webhooks=Webhooks(connection, ids),
    )
