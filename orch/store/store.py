"""The store as one value: a connection and the families of verbs over it."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.limits import TICK_MS
from orch.core.bounds import Bounds
from orch.core.scheduling import SchedulingPolicy
from orch.ports import Ids
from orch.store.admission import Admission
from orch.store.census import Census
from orch.store.claims import Claims
from orch.store.connection import Connection
from orch.store.control import Control
from orch.store.dead_letters import DeadLetters
from orch.store.deliveries import Deliveries
from orch.store.feed import Feed
from orch.store.leases import Leases
from orch.store.outcomes import Outcomes
from orch.store.output import Output
from orch.store.pools import Pools
from orch.store.reading import Reading
from orch.store.repairs import Repairs
from orch.store.schedules import Schedules
from orch.store.sessions import Sessions
from orch.store.steering import Questions, Steering
from orch.store.timers import Timers
from orch.store.tokens import Tokens
from orch.store.webhooks import Webhooks


@dataclass(frozen=True, slots=True)
class Store:
    """Everything an actor may ask Redis for."""

    connection: Connection
    admission: Admission
    census: Census
    claims: Claims
    control: Control
    dead_letters: DeadLetters
    deliveries: Deliveries
    feed: Feed
    leases: Leases
    outcomes: Outcomes
    output: Output
    pools: Pools
    questions: Questions
    reading: Reading
    repairs: Repairs
    schedules: Schedules
    sessions: Sessions
    steering: Steering
    timers: Timers
    tokens: Tokens
    webhooks: Webhooks


def open_store(
    connection: Connection, ids: Ids, policy: SchedulingPolicy, *, actor: str, bounds: Bounds
) -> Store:
    """The store for one actor; `actor` is the name in the ledger entries it causes."""
    output = Output(connection)
    reading = Reading(connection, output, policy)
    admission = Admission(connection, ids, policy, actor=actor, bounds=bounds)
    return Store(
        connection=connection,
        admission=admission,
        census=Census(connection),
        claims=Claims(connection, policy),
        control=Control(connection),
        dead_letters=DeadLetters(
            connection, ids, policy, actor=actor, bounds=bounds, submissions=admission.submissions
        ),
        deliveries=Deliveries(connection),
        feed=Feed(connection, block_ms_max=10 * TICK_MS),
        leases=Leases(connection),
        outcomes=Outcomes(connection, policy),
        output=output,
        pools=Pools(connection),
        questions=Questions(connection, reading, ids, policy, actor=actor),
        reading=reading,
        repairs=Repairs(connection, policy),
        schedules=Schedules(connection, ids, admission),
        sessions=Sessions(connection),
        steering=Steering(connection, reading, policy, actor=actor),
        timers=Timers(connection, policy),
        tokens=Tokens(connection),
        webhooks=Webhooks(connection, ids),
    )
