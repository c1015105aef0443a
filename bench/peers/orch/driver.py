"""Orch as its users drive it: the store's door for submissions, `python -m actors …` for everything else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import anyio
import stage

from contracts.record import Submitted
from contracts.spec import parse_spec
from orch.core.asks import Ask
from orch.core.bounds import Bounds
from orch.core.scheduling import scheduling_policy
from orch.settings import settings_of
from orch.store.connection import Connection
from orch.store.store import Store, open_store
from orch.system import SystemClock, SystemIds

HERE: Final = Path(__file__).resolve().parent
IS_INLINE: Final = stage.VARIANT == "orch"
STACK: Final = ("admission", "scheduler", "reaper", "fallback")
TOGETHER: Final = 1_000
LANES: Final = 32
SLOTS: Final = 100
BLOCK_MS: Final = 5_000


def spec(job: str, *args: object, priority: str | None = None) -> dict[str, Any]:
    """What a user of this job would write."""
    config: dict[str, Any] = {"callable": f"jobs:{job}"}
    if IS_INLINE:
        config["isolation"] = "inline"
    else:
        config["path"] = str(HERE)
        args = (*args, os.environ["BENCH_MARKS"])
    if args:
        config["args"] = list(args)
    document = {"name": job, "adapter": {"name": "python", "config": config}}
    return document if priority is None else {**document, "priority": priority}


def a_store() -> Store:
    """A producer's store."""
    settings = settings_of({})
    policy = scheduling_policy(
        settings.classes,
        default_class=settings.default_class,
        scheduling=settings.scheduling,
        aging_ms=settings.aging_ms,
    )
    connection = Connection(stage.URL, SystemClock())
    return open_store(connection, SystemIds(), policy, actor="bench", bounds=Bounds(10_000_000))


async def admit(store: Store, asks: Sequence[Ask]) -> list[str]:
    """Submits; every job must be accepted."""
    answers = await store.admission.admit(asks)
    ids = [answer.job_id for answer in answers if isinstance(answer, Submitted)]
    if len(ids) < len(asks):
        message = f"{len(asks) - len(ids)} jobs were refused: {answers[-1]}"
        raise RuntimeError(message)
    return ids


async def enqueue(store: Store, options: stage.Options) -> object:
    """Many jobs, in thousands or one by one."""
    document, count = spec(options["job"], priority=options.get("priority")), options["count"]

    async def bulk() -> None:
        for begin in range(0, count, TOGETHER):
            await admit(store, [Ask(document)] * min(TOGETHER, count - begin))

    async def one_by_one() -> None:
        for _ in range(count):
            await admit(store, [Ask(document)])

    await store.connection.ping()
    parse_spec(document)  # a process builds its models at the first spec that it sees
    return await stage.timed_async(bulk() if options["bulk"] else one_by_one())


async def fill_canceled(store: Store, options: stage.Options) -> object:
    """Jobs that are canceled while they wait: their entries stay in the line."""
    document, left = spec("noop"), options["count"]
    while left:
        ids = await admit(store, [Ask(document)] * min(TOGETHER, left))
        async with anyio.create_task_group() as tasks:
            for lane in range(LANES):
                tasks.start_soon(cancel_all, store, ids[lane::LANES])
        left -= len(ids)
    return {}


async def cancel_all(store: Store, ids: Sequence[str]) -> None:
    """One after the other."""
    for job_id in ids:
        await store.steering.cancel(job_id, by="bench", note=None)


async def latency(store: Store, options: stage.Options) -> object:
    """One at a time; a result is here once the feed has told of it and the record was read."""
    priority = options.get("priority")
    position = await store.feed.tail()

    async def submit(index: int) -> str:
        return (await admit(store, [Ask(spec("stamp", index, priority=priority))]))[0]

    async def result(job_id: str) -> object:
        nonlocal position
        while True:
            position, touched, _ = await store.feed.read(position, block_ms=BLOCK_MS)
            if job_id in touched or not touched:
                record = await store.reading.job(job_id)
                if record.finished_at_ms is not None:
                    return record.result

    return await stage.submit_paced(options, submit, result)


async def starts(store: Store, options: stage.Options) -> object:
    """One at a time without looking for results: what a producer does that only submits."""

    async def submit(index: int) -> str:
        document = spec("stamp", index, priority=options.get("priority"))
        return (await admit(store, [Ask(document)]))[0]

    return await stage.submit_paced(options, submit, None)


async def requests(store: Store, options: stage.Options) -> object:
    """The raw door: an XADD, and the answer of the admission actor, read every half millisecond."""
    keys, text = store.connection.keys, json.dumps(spec("noop"))

    async def submit(index: int) -> str:
        name = f"bench-{os.getpid()}-{index}"
        fields = ("v", "1", "request_id", name, "spec", text)
        await store.connection.execute("XADD", keys.requests, "*", *fields)
        return name

    async def answer(name: str) -> None:
        while await store.connection.execute("GET", keys.answer(name)) is None:  # noqa: ASYNC110 - a raw producer polls for its answer
            await anyio.sleep(0.0005)

    return await stage.submit_paced(options, submit, answer)


def in_loop(act: Callable[[Store, stage.Options], Awaitable[object]]) -> Callable[..., object]:
    """The verb in a loop of its own."""

    async def run(options: stage.Options) -> object:
        store = a_store()
        await store.timers.declare(["default"])  # as the supervisor of a stack does
        try:
            return await act(store, options)
        finally:
            await store.connection.aclose()

    return lambda options: anyio.run(run, options, backend_options={"use_uvloop": True})


async def declared(_: Store, __: stage.Options) -> object:
    """Nothing more than every verb does: the pool is known before the gateway opens."""
    return {}


def actor(role: str, name: str, *more: str) -> list[str]:
    """The command line of an actor process."""
    home = Path(os.environ["BENCH_HOME"], f"{name}-{os.getpid()}")
    words = [sys.executable, "-m", "actors", role, "--redis-url", stage.URL, "--home", str(home)]
    return [*words, "--set", "log_level=warning", "--set", "ephemeral=true", *more]


def environ() -> dict[str, str]:
    """Where the runner finds our jobs."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(HERE), os.environ["PYTHONPATH"]))}


def work(options: stage.Options) -> None:
    """One runner process."""
    wished = options.get("concurrency", SLOTS if IS_INLINE else None)
    slots = () if options.get("defaults") or wished is None else ("--slots", str(wished))
    command = actor("runner", "runner", *slots)
    if "profile" in options:
        command[1:1] = ["-m", "cProfile", "-o", options["profile"]]
    os.execve(sys.executable, command, environ())


def stack(options: stage.Options) -> None:
    """The other actors of a normal stack; the gateway too when its port is given."""
    in_loop(declared)({})
    parent = ("--parent", str(os.getpid()))
    commands = [actor(role, role, *parent) for role in STACK]
    if "port" in options:
        told = options.get("settings", {}).items()
        settings = [word for name, value in told for word in ("--set", f"{name}={value}")]
        commands.append(
            actor("gateway", "gateway", "--port", str(options["port"]), *settings, *parent)
        )
    children = [subprocess.Popen(command, env=environ()) for command in commands]
    for child in children:
        child.wait()


if __name__ == "__main__":
    ours = (enqueue, fill_canceled, latency, starts, requests)
    verbs = {verb.__name__: in_loop(verb) for verb in ours}
    stage.serve({**verbs, "work": work, "stack": stack})
