"""The runner process: claims and attempts."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from functools import partial

import anyio
import anyio.from_thread
from anyio.lowlevel import current_token

from actors.body import Body, come_in, make_instance
from actors.instance import patiently, unless_stopped
from actors.runner.figures import Figures
from actors.runner.leftovers import fresh_scratch, sweep_processes
from actors.runner.life import Runner
from actors.runner.terms import RunnerTerms
from actors.runner.tools import Tools
from actors.runner.traced import Traced
from contracts.limits import CLAIM_EVERY_MS
from orch.adapters.leases import Leases as GuardLeases
from orch.adapters.protocol import Run
from orch.adapters.registry import Adapters
from orch.adapters.workshop import Workshop
from orch.blobs import Blobs
from orch.core.tokens import SECRET_CHARS, agent_token
from orch.ports import Heard
from orch.store.keeper import Keeper
from orch.system import secret_letters


def _keeper(body: Body, instance_id: str, heard: Heard) -> Keeper:
    s = body.settings
    url = body.store.connection.url
    return Keeper(url, instance_id, heard, shard=s.shard, lease_ms=s.lease_ms)


async def _live(tools: Tools, runner: Runner) -> None:
    if tools.traced is None:
        await runner.run()
        return
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tools.traced.run)
        await runner.run()
        await tools.traced.finish()
        tasks.cancel_scope.cancel()


@dataclass(slots=True)
class Badges:
    """Attempts' own tokens: made of the claim, so that nothing about them is stored."""

    key: str = ""

    def token_for(self, run: Run) -> str:
        """ORCH_TOKEN: reads this job while the claim is in force."""
        return agent_token(self.key, run.job_id, run.claim.text)


async def run(body: Body) -> None:
    """Until the stop."""
    s = body.settings
    guards = GuardLeases(suspend_max_ms=s.suspend_max_ms, lifeline_fd=body.place.lifeline_fd)
    blobs = Blobs(body.place.home / "blobs")
    scratch = fresh_scratch(body.place.home / "scratch")
    badges = Badges()

    async def prepare() -> None:
        await sweep_processes(body.store.claims)
        badges.key = await body.store.tokens.agent_key(secret_letters(SECRET_CHARS))

    async def begin() -> None:
        await come_in(body)
        await patiently("sweep", prepare, body.clock)

    if not await unless_stopped(body.stop, begin):
        return
    workshop = Workshop(
        leases=guards, blobs=blobs, clock=body.clock, scratch=scratch, grace_ms=s.grace_ms,
        python_workers=s.python_workers, url=body.place.url, shard=s.shard, token_for=badges.token_for,
        http_hosts=s.http_hosts_allowed,
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
            figures=Figures(body.metrics, pool=s.pool, slots=s.slots, classes=s.class_names),
            keeper=partial(_keeper, body),
            from_keeper=partial(anyio.from_thread.run_sync, token=current_token()),
            terms=RunnerTerms(s.pool, s.slots, s.grace_ms, s.question_ttl_ms),
            follow=body.follow,
            traced=None
            if body.traces is None
            else Traced(body.traces, body.store.reading, pool=s.pool),
        )
        body.health.expect("beat", stale_ms=s.lease_ms)
        body.health.expect("cycle")
        body.health.expect("listen")
        make = partial(make_instance, "runner", s, body.ids)
        await _live(tools, Runner(tools, make, body.stop))
    shutil.rmtree(scratch, ignore_errors=True)
