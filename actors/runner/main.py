"""The runner process: claims and attempts."""

from __future__ import annotations

import os
import shutil
from functools import partial

import anyio.from_thread
from anyio.lowlevel import current_token

from actors.body import Body, make_instance
from actors.instance import patiently, unless_stopped
from actors.runner.figures import Figures
from actors.runner.leftovers import fresh_scratch, sweep_processes
from actors.runner.life import Runner
from actors.runner.terms import RunnerTerms
from actors.runner.tools import Tools
from contracts.limits import CLAIM_EVERY_MS
from orch.adapters.leases import Leases as GuardLeases
from orch.adapters.registry import Adapters
from orch.adapters.workshop import Workshop
from orch.blobs import Blobs
from orch.ports import Heard
from orch.store.keeper import Keeper


def _keeper(body: Body, instance_id: str, heard: Heard) -> Keeper:
    s = body.settings
    url = body.store.connection.url
    return Keeper(url, instance_id, heard, shard=s.shard, lease_ms=s.lease_ms)


async def run(body: Body) -> None:
    """Until the stop."""
    s = body.settings
    guards = GuardLeases(suspend_max_ms=s.suspend_max_ms, lifeline_fd=body.place.lifeline_fd)
    blobs = Blobs(body.place.home / "blobs")
    scratch = fresh_scratch(body.place.home / "scratch")
    sweep = partial(sweep_processes, body.store.claims)
    if not await unless_stopped(body.stop, partial(patiently, "sweep", sweep, body.clock)):
        return
    workshop = Workshop(
        leases=guards, blobs=blobs, clock=body.clock, scratch=scratch, grace_ms=s.grace_ms,
        python_workers=s.python_workers, url=body.place.url, http_hosts=s.http_hosts_allowed,
        http_env={name: os.environ[name] for name in s.http_env_allowed if name in os.environ},
    )  # fmt: skip
    async with Adapters(workshop) as adapters:
        tools = Tools(
            store=body.store,
            reader=body.store.connection.reader(CLAIM_EVERY_MS),
            adapters=adapters,
            blobs=blobs,
            guards=guards,
            clock=body.clock,
            ids=body.ids,
            health=body.health,
            figures=Figures(body.metrics, pool=s.pool, slots=s.slots),
            keeper=partial(_keeper, body),
            from_keeper=partial(anyio.from_thread.run_sync, token=current_token()),
            terms=RunnerTerms(s.pool, s.slots, s.grace_ms, s.question_ttl_ms),
        )
        make = partial(make_instance, "runner", s, body.ids)
        await Runner(tools, make, body.stop).run()
    shutil.rmtree(scratch, ignore_errors=True)
