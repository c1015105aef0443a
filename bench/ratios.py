"""The targets, as ratios of rows of one run: what counts is how Orch stands beside its peers, never a time.

A few targets are bounds on a figure of Orch itself (bytes, commands); they stand here as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from bench.roster import Peer
from bench.rows import Table, rounded

OURS: Final = "orch"
MILLION: Final = "1000000"
SLOTS: Final = 100
"""Of the measured runner: one batch of a claim."""


@dataclass(frozen=True, slots=True)
class View:
    """Rows, and who the others are."""

    table: Table
    others: tuple[str, ...]
    storing: tuple[str, ...]

    def ours(self, measure: str, mode: str = "none") -> float | None:
        """Orch's value."""
        return self.table.value(OURS, measure, mode)

    def most(self, peers: Sequence[str], measure: str, mode: str = "none") -> float | None:
        """The highest value among these peers."""
        return max(self.table.values(peers, measure, mode).values(), default=None)

    def least(self, peers: Sequence[str], measure: str, mode: str = "none") -> float | None:
        """The lowest value among these peers."""
        return min(self.table.values(peers, measure, mode).values(), default=None)


@dataclass(frozen=True, slots=True)
class Target:
    """One line of the table of ratios."""

    name: str
    says: str
    value: Callable[[View], float | None]
    bound: Literal["at least", "at most"] | None = None
    target: float | None = None

    def met(self, value: float | None) -> bool | None:
        """None without a value or without a target."""
        if value is None or self.target is None:
            return None
        return value >= self.target if self.bound == "at least" else value <= self.target


def over(above: float | None, below: float | None) -> float | None:
    """A ratio of two values that may be missing."""
    return None if above is None or not below else above / below


def _against(measure: str, mode: str, *, storing: bool = False) -> Callable[[View], float | None]:
    def value(view: View) -> float | None:
        peers = view.storing if storing else view.others
        return over(view.ours(measure, mode), view.most(peers, measure, mode))

    return value


def _against_least(measure: str) -> Callable[[View], float | None]:
    return lambda view: over(view.ours(measure), view.least(view.others, measure))


def _own(measure: str, of: str) -> Callable[[View], float | None]:
    return lambda view: over(view.ours(measure), view.ours(of))


def _figure(measure: str) -> Callable[[View], float | None]:
    return lambda view: view.ours(measure)


def _floor(measure: str) -> Callable[[View], float | None]:
    return lambda view: over(view.ours(measure), view.table.value("floor", measure, "none"))


def _interactive(view: View) -> float | None:
    """The start under a backlog, over the start after silence plus the time of one batch."""
    alone, rate = view.ours("start_idle_p50"), view.ours("drain_1")
    if alone is None or not rate:
        return None
    return over(view.ours("start_backlog_p50"), alone + 1_000 * SLOTS / rate)


_T = Target
TARGETS: Final = (
    _T("drain_vs_fastest", "drain, one worker: Orch / the fastest peer", _against("drain_1", "none"), "at least", 3),
    _T("drain_vs_fastest_storing", "… / the fastest that stores a result", _against("drain_1", "none", storing=True), "at least", 5),
    _T("drain_vs_fastest_always", "the same with appendfsync always", _against("drain_1", "always"), "at least", 2),
    _T("drain_vs_fastest_storing_always", "… / the fastest that stores a result", _against("drain_1", "always", storing=True), "at least", 3),
    _T("two_runners_wait", "jobs of 1 ms: two runners / one", _own("drain_wait_2", "drain_wait_1"), "at least", 1.6),
    _T("two_runners_server_us", "no-ops: server us a job, two runners / one", _own("server_us_per_job_2", "server_us_per_job_1"), "at most", 1.1),
    _T("enqueue_bulk_vs_fastest", "enqueue in bulk: Orch / the fastest peer", _against("enqueue_bulk", "none"), "at least", 3),
    _T("enqueue_one_vs_fastest", "enqueue one by one: Orch / the fastest peer", _against("enqueue_one", "none"), "at least", 1),
    _T("start_busy_p50_vs_best", "submit to start, busy, p50: Orch / the best peer", _against_least("start_busy_p50"), "at most", 1.1),
    _T("start_idle_p50_vs_best", "… after 2 s of silence", _against_least("start_idle_p50"), "at most", 1.1),
    _T("start_busy_p99_to_p50", "submit to start, busy: p99 / p50", _own("start_busy_p99", "start_busy_p50"), "at most", 3),
    _T("start_idle_p99_to_p50", "… after 2 s of silence", _own("start_idle_p99", "start_idle_p50"), "at most", 3),
    _T("interactive_under_backlog", "interactive start under a batch backlog / (idle start + one batch)", _interactive, "at most", 1),
    _T("idle_commands_per_actor", "commands a second and actor, idle", _figure("idle_commands_per_actor_s"), "at most", 2),
    _T("idle_cpu", "CPU of the idle stack, % of a core", _figure("idle_cpu_percent"), "at most", 0.5),
    _T("backlog_rate", "drain at a million queued / at a thousand", _own(f"drain_at_{MILLION}", "drain_at_1000"), "at least", 0.9),
    _T("backlog_server_us", "server us a job at a million queued / at a thousand", _own(f"server_us_per_job_at_{MILLION}", "server_us_per_job_at_1000"), "at most", 1.1),
    _T("canceled_rate", "drain past a million canceled / at a thousand", _own(f"drain_past_{MILLION}_canceled", "drain_at_1000")),
    _T("bytes_queued", "bytes of Redis a queued job", _figure("bytes_queued"), "at most", 600),
    _T("bytes_finished", "bytes of Redis a finished job with its ledger", _figure("bytes_finished"), "at most", 1_536),
    _T("process_vs_inline", "drain: default isolation / inline", lambda v: over(v.table.value("orch-process", "drain_1", "none"), v.ours("drain_1"))),
    _T("always_vs_none", "drain: appendfsync always / no persistence", lambda v: over(v.ours("drain_1", "always"), v.ours("drain_1"))),
    _T("requests_door_vs_floor", "request and answer through streams: Orch / raw two hops", _floor("requests_door_p50")),
    _T("http_vs_bare", "POST /v1/jobs a second: Orch / bare FastAPI", lambda v: over(v.ours("http_submit"), v.table.value("bare-fastapi", "http_submit", "none"))),
    _T("front_vs_bare_always", "POST /v1/jobs a second, appendfsync always: Orch / bare FastAPI", lambda v: over(v.ours("front_submit", "always"), v.table.value("bare-fastapi", "front_submit", "always"))),
    _T("front_refused_p50_to_accepted", "p50 of a 429 at full queues / of an accepted submission, appendfsync always", lambda v: over(v.ours("front_refused_p50", "always"), v.ours("front_submit_p50", "always")), "at most", 1),
)  # fmt: skip


def view_of(table: Table, peers: Sequence[Peer]) -> View:
    """The rows as the targets read them."""
    others = [peer for peer in peers if not peer.is_ours]
    storing = tuple(peer.name for peer in others if peer.stores_result)
    return View(table, tuple(peer.name for peer in others), storing)


def ratios_of(view: View) -> dict[str, dict[str, object]]:
    """Every ratio that this run can tell: {name: {value, target, met}}."""
    found: dict[str, dict[str, object]] = {}
    for target in TARGETS:
        value = target.value(view)
        if value is not None:
            met = target.met(value)
            found[target.name] = {"value": rounded(value), "target": target.target, "met": met}
    return found
