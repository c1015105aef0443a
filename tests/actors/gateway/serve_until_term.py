"""A gateway as a process of its own, for the test that sends it a signal."""

from __future__ import annotations

import signal
import sys
from functools import partial

import anyio

from actors.gateway.app import create_app
from actors.gateway.serve import bind, serve
from contracts.record import Submitted
from orch.core.asks import Ask
from tests.actors.gateway.fake_store import FakeStore
from tests.actors.gateway.house import SPEC, services_over


async def main() -> None:
    store, sock, stop = FakeStore(), bind(), anyio.Event()
    (job,) = await store.admit([Ask(SPEC, None)])
    assert isinstance(job, Submitted)
    app = create_app(services_over(store))
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async with anyio.create_task_group() as tasks:
            await tasks.start(partial(serve, app, sock, stop=stop))
            sys.stdout.write(f"{sock.getsockname()[1]} {job.job_id}\n")
            sys.stdout.flush()
            async for _ in signals:
                stop.set()
                break


if __name__ == "__main__":
    anyio.run(main)
