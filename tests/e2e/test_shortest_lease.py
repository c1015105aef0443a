"""At the shortest lease: user code within the runner, clocks that jump, and what two deaths at once leave.

None of them costs a living runner its lease, but one: a call of C that never lets the keeper's thread in.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from actors.start import ROLES
from contracts.events import EventType
from contracts.limits import HOUR_MS, LEASE_MS_MIN
from contracts.outcomes import Outcome
from contracts.record import JobRecord
from contracts.states import State
from orch.adapters.sweep import CLAIM_MARK, JOB_MARK
from orch.store.keys import Keys
from tests.e2e.hosts import Clocks, a_stack_on_hosts, server_ms
from tests.e2e.specs import call, shell
from tests.e2e.stack import Stack, is_alive, parent_of, wait_until
from tests.e2e.test_lease import holder, is_buried, is_stopped
from tests.e2e.test_schedules import set_back, timetable, wait_for_fire

BUSY_MS: Final = 7 * LEASE_MS_MIN // 2
BEATS: Final = 6
"""Two leases long."""
LATE_MS: Final = 20_000
"""So much later than its time a timer is carried out at most, on however busy a machine; not an hour."""
HERE: Final = frozenset({"runner", "scheduler", "admission"})
"""The parts on one host; the others are on another."""


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Clocks]]:
    root = tmp_path_factory.mktemp("stack")
    with a_stack_on_hosts(root, runners=1, lease_ms=LEASE_MS_MIN) as running:
        yield running


@pytest.fixture(scope="module")
def stack(hosts: tuple[Stack, Clocks]) -> Stack:
    return hosts[0]


@pytest.fixture
def clocks(hosts: tuple[Stack, Clocks]) -> Iterator[Clocks]:
    """They are right again afterwards."""
    stack, clocks = hosts
    yield clocks
    clocks.jump(stack, dict.fromkeys(ROLES, 0))


def beats(stack: Stack) -> dict[str, int]:
    return {name: int(count) for name, count in stack.redis.hgetall(Keys().beats).items()}


def burials(stack: Stack) -> int:
    return int(stack.redis.hget(Keys().meta, "burials") or 0)


def outcomes(record: JobRecord) -> list[Outcome | None]:
    return [one.outcome for one in record.attempts]


# -- user code within the runner


def inline(function: str, *args: Any) -> dict[str, Any]:
    """A function of tests/e2e/agents/busy.py, called on the runner's main thread."""
    spec = call("busy", *args)
    spec["adapter"]["config"] |= {"callable": f"busy:{function}", "isolation": "inline"}
    return spec


@pytest.mark.req("LSE-3")
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(("compute", BUSY_MS), id="python that never awaits"),
        pytest.param(
            ("hold_in_turns", 4, 2 * LEASE_MS_MIN // 5, LEASE_MS_MIN // 2), id="calls of C"
        ),
    ],
)
def test_a_main_thread_that_is_busy_for_three_leases_costs_none(
    stack: Stack, body: tuple[Any, ...]
) -> None:
    (pid,), buried = stack.pids("runner"), burials(stack)
    record = stack.run(inline(*body))
    assert (record.state, outcomes(record)) == (State.COMPLETED, [Outcome.DONE])
    assert record.result == [pid, True], "it ran on the main thread of the runner"
    assert record.started_at_ms is not None
    assert record.finished_at_ms is not None
    assert record.finished_at_ms - record.started_at_ms >= 3 * LEASE_MS_MIN
    assert burials(stack) == buried
    assert not stack.events_of(record.job_id, EventType.LEASE_LOST, EventType.STALE_RECOVERED)


@pytest.mark.req("LSE-3", "LSE-2")
def test_one_call_of_c_that_lets_no_thread_in_past_the_lease_costs_the_attempt(
    stack: Stack, tmp_path: Path
) -> None:
    """The documented bound: the keeper is a thread of the same interpreter."""
    fifo = tmp_path / "told"
    os.mkfifo(fifo)
    told = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    try:
        job_id = stack.client.submit(inline("hold_until_told", str(fifo))).job_id
        worker, pid = holder(stack, job_id)
        stack.wait_for_event(job_id, EventType.STALE_RECOVERED, worker=worker)
        os.write(told, b"!")  # and what the call says when it returns is not counted
        record = stack.client.wait(job_id, timeout_s=30)
    finally:
        os.close(told)
    assert (record.state, outcomes(record)) == (State.COMPLETED, [Outcome.LOST, Outcome.DONE])
    assert record.result == [pid, True], "the same process, as a new instance"
    assert is_buried(stack, worker)


# -- hosts whose clocks jump


def hosts_apart(here_ms: int) -> dict[str, int]:
    """What each role's clock is ahead: one host by so much, the other behind by as much."""
    return {role: here_ms if role in HERE else -here_ms for role in ROLES}


def live_on(stack: Stack) -> None:
    """Until everybody who is registered has beaten for some leases more."""
    before = beats(stack)

    def all_did() -> bool:
        return all(beats(stack).get(name, 0) >= count + BEATS for name, count in before.items())

    wait_until(all_did, what="all beat on, and nobody is buried")


def acting(stack: Stack, name: str, **spec: Any) -> tuple[str, int]:
    """A job whose first agent acts until the file `<name>.go` is there, and that agent."""
    script = (
        f'[ "$ORCH_ATTEMPT" = 1 ] || exit 0; echo $$ > {name}; while [ ! -e {name}.go ]; do :; done'
    )
    config = {"cwd": str(stack.root), "wall_ms": HOUR_MS // 2, "idle_ms": HOUR_MS // 2}
    job_id = stack.client.submit(shell(script, config=config, **spec)).job_id
    return job_id, told_pid(stack.root / name)


def told_pid(path: Path) -> int:
    """The process id that an agent wrote down, once its line is whole."""

    def line() -> str:
        text = path.read_text() if path.exists() else ""
        return text if text.endswith("\n") else ""

    return int(wait_until(line, what=f"an agent writes {path.name}"))


def timers_hold(stack: Stack) -> list[str]:
    """What waits for a time waits for the server's: neither at once nor an hour late. The jobs, in order."""
    now_ms = server_ms(stack)
    later = stack.client.submit(shell("true", not_before_ms=now_ms + 1_500)).job_id
    again = stack.client.submit(shell('[ "$ORCH_ATTEMPT" = 2 ] || exit 75')).job_id
    in_time = stack.client.submit(shell("true", deadline_ms=now_ms + HOUR_MS // 2)).job_id
    too_late = stack.client.submit(shell("sleep 60", deadline_ms=now_ms + 1_500)).job_id
    ended = {one: stack.client.wait(one, timeout_s=30) for one in (later, again, in_time, too_late)}
    states = [record.state for record in ended.values()]
    assert states == [State.COMPLETED, State.COMPLETED, State.COMPLETED, State.EXPIRED]
    started_ms, expired_ms = ended[later].started_at_ms or 0, ended[too_late].finished_at_ms or 0
    assert 0 <= started_ms - (now_ms + 1_500) < LATE_MS
    assert 0 <= expired_ms - (now_ms + 1_500) < LATE_MS
    assert outcomes(ended[again]) == [Outcome.TRANSIENT, Outcome.DONE]
    return list(ended)


@pytest.mark.req("LSE-6", "SCH-6")
def test_clocks_of_hosts_that_jump_by_an_hour_steal_nothing_and_move_no_timer(
    stack: Stack, clocks: Clocks
) -> None:
    began_ms, buried, lived = server_ms(stack), burials(stack), set(beats(stack))
    job_id, _ = acting(stack, "through")
    stack.client.put_schedule(timetable("jumps"))
    jobs = [job_id]
    for here_ms in (HOUR_MS, -HOUR_MS):
        clocks.jump(stack, hosts_apart(here_ms))
        jobs += timers_hold(stack)
        at_ms = set_back(stack, "jumps", 2)
        fired_ms = wait_for_fire(stack, "jumps", at_ms).last_fire_at_ms or 0
        assert at_ms <= fired_ms <= server_ms(stack), "no time is fired that has not come"
        live_on(stack)
    (stack.root / "through.go").touch()
    record = stack.client.wait(job_id, timeout_s=30)
    assert (record.state, outcomes(record)) == (State.COMPLETED, [Outcome.DONE])
    assert (burials(stack), set(beats(stack))) == (buried, lived)
    for one in jobs:
        events = stack.events_of(one)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        stamps = [event.at_ms for event in events]
        assert stamps == sorted(stamps)
        assert began_ms <= stamps[0] <= stamps[-1] <= server_ms(stack)
    listed = [one.job_id for one in stack.client.jobs(limit=100).jobs]
    assert [one for one in reversed(listed) if one in jobs] == jobs, "by arrival"


@pytest.mark.req("LSE-6", "LSE-4", "REA-1")
@pytest.mark.parametrize("here_ms", [HOUR_MS, -HOUR_MS])
def test_a_clock_that_jumps_makes_no_silent_runner_immortal(
    stack: Stack, clocks: Clocks, here_ms: int
) -> None:
    clocks.jump(stack, hosts_apart(-here_ms))
    job_id, agent = acting(stack, f"silent{here_ms}")
    worker, pid = holder(stack, job_id)
    clocks.jump(stack, hosts_apart(here_ms))
    stack.kill_pid(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: is_stopped(agent), what="its agent does not act past the lease")
        # The frozen runner cannot tell the time: only the other host's clock is seen to jump.
        clocks.jump(
            stack, {role: ms for role, ms in hosts_apart(-here_ms).items() if role not in HERE}
        )
        stack.wait_for_event(job_id, EventType.STALE_RECOVERED, worker=worker)
    finally:
        stack.kill_pid(pid, signal.SIGCONT)
    record = stack.client.wait(job_id, timeout_s=30)
    assert (record.state, outcomes(record)) == (State.COMPLETED, [Outcome.LOST, Outcome.DONE])
    wait_until(lambda: not is_alive(agent), what="the first agent is killed")


# -- what a runner and a guard leave that die together


def leaving(stack: Stack, name: str, **spec: Any) -> tuple[str, int]:
    """A job whose agent has a child that outlives it when no guard looks; the job, and the child."""
    child = f"sh -c 'echo $$ > {name}; exec sleep 600'"
    script = f'[ "$ORCH_ATTEMPT" = 1 ] || exit 0; {child} & wait'
    job_id = stack.client.submit(shell(script, config={"cwd": str(stack.root)}, **spec)).job_id
    return job_id, told_pid(stack.root / name)


def kill_with_guard(stack: Stack, runner: int, child: int) -> None:
    """Both at once: stopped first, so that neither sees the other die. The agent dies with its guard."""
    agent = parent_of(child)
    guard = parent_of(agent)
    for number in (signal.SIGSTOP, signal.SIGKILL):
        stack.kill_pid(runner, number)
        stack.kill_pid(guard, number)
    wait_until(lambda: not is_alive(agent), what="the agent is gone, its child is not")


def stranger(stack: Stack, job_id: str) -> subprocess.Popen[bytes]:
    """What another stack of the same user left here: a sweep knows it by its marks alone."""
    marks = {JOB_MARK: job_id, CLAIM_MARK: "1.1.anotherstack"}
    return subprocess.Popen(["sleep", "600"], cwd=stack.root, env={**os.environ, **marks})


def a_runner_starts_anew(stack: Stack, dead: int) -> None:
    """The supervisor starts another in the place of the dead one; it sweeps before it is registered again."""

    def is_back() -> bool:
        return bool((set(stack.pids("runner")) - {dead}) & stack.serving_pids("runner"))

    wait_until(is_back, what="another runner serves")


@pytest.mark.req("LSE-4")
def test_a_starting_runner_kills_what_a_runner_and_its_guard_left_once_the_claim_is_over(
    stack: Stack,
) -> None:
    (own,), reaper = stack.pids("runner"), stack.pid("reaper")
    with ExitStack() as running:
        words = ("--set", "pool=aside", "--set", f"lease_ms={LEASE_MS_MIN}")
        aside = running.enter_context(stack.spawn_actor("runner", *words))
        running.callback(aside.kill)
        wait_until(lambda: aside.pid in stack.serving_pids("runner"), what="it serves its pool")
        held, of_held = leaving(stack, "held", pool="aside")
        over, of_over = leaving(stack, "over")
        strangers = [stranger(stack, held), stranger(stack, over), stranger(stack, "unknown")]
        for one in strangers:
            running.enter_context(one)
            running.callback(one.kill)

        # Nobody else knows that this one is dead: its claim stays in force for as long as no reaper looks.
        stack.kill_pid(reaper, signal.SIGSTOP)
        running.callback(stack.kill_pid, reaper, signal.SIGCONT)
        kill_with_guard(stack, aside.pid, of_held)
        kill_with_guard(stack, own, of_over)
        a_runner_starts_anew(stack, own)
        wait_until(lambda: not is_alive(of_over), what="what was left of the claim that is over")
        assert stack.client.wait(over, timeout_s=30).state is State.COMPLETED
        assert is_alive(of_held), "its claim is in force"

        stack.kill_pid(reaper, signal.SIGCONT)
        stack.wait_for_event(held, EventType.STALE_RECOVERED)
        second = stack.kill("runner")
        a_runner_starts_anew(stack, second)
        wait_until(lambda: not is_alive(of_held), what="what was left of the other claim")
        assert [one.poll() for one in strangers] == [None] * 3
        stack.client.cancel(held)
