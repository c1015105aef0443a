"""A short slice of `make chaos`: a real server, real actors, some seconds of faults, every promise."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.chaos.disk import why_not
from tests.chaos.plan import Measurement
from tests.chaos.recovery import REAPERS_BACK_MS, measure
from tests.chaos.run import Run
from tests.chaos.server import faketime_library
from tests.chaos.shape import Shape

SLICE = Shape(
    "slice",
    seconds=8.0,
    runners=3,
    others=1,
    submitters=2,
    most_open=30,
    pace=2.0,
    only=(
        "kill_runner", "freeze_runner", "kill_guard", "kill_fallback", "kill_admission", "server_kill",
        "function_flush", "lost_reply", "reset_before", "reset_all", "hole_both",
    ),
    jobs_min=10,
)  # fmt: skip


@pytest.mark.req("REA-1", "REA-4", "LSE-1", "ARC-1")
async def test_a_few_seconds_of_faults_lose_and_double_nothing() -> None:
    with TemporaryDirectory(prefix="orch-chaos-") as folder:  # a short path: it holds a socket
        root = Path(folder) / "run"
        outcome = await Run(SLICE, "slice", root).whole()
        logs = "\n".join(_last_words(path) for path in sorted(root.glob("*.log")))
        assert outcome.violations == [], logs
        assert outcome.invalid == []
        assert outcome.nemesis is not None
        told = [json.loads(line) for line in (root / "faults.jsonl").read_text().splitlines()]
        # On a busy machine the rarer kinds may find no moment in so short a time.
        assert {"kill_runner", "server_kill"} <= {name for _, _, name in told} <= set(SLICE.only)


@pytest.mark.req("DEP-2", "LSE-3", "REA-1")
async def test_a_few_seconds_on_a_cluster_whose_primaries_are_replaced_lose_nothing_unnoticed() -> (
    None
):
    only = ("failover", "handover", "kill_runner", "freeze_runner", "kill_fallback")
    shape = replace(SLICE, name="cluster", servers="cluster", seconds=15.0, only=only)
    with TemporaryDirectory(prefix="orch-chaos-") as folder:
        root = Path(folder) / "run"
        outcome = await Run(shape, "cluster", root).whole()
        logs = "\n".join(_last_words(path) for path in sorted(root.glob("*.log")))
        assert outcome.violations == [], logs
        assert outcome.invalid == []
        told = [json.loads(line) for line in (root / "faults.jsonl").read_text().splitlines()]
        assert {name for _, _, name in told} & {"failover", "handover"}


@pytest.mark.req("LSE-6", "REA-1")
@pytest.mark.skipif(
    faketime_library() is None, reason="no libfaketime; apt-get install libfaketime brings it"
)
async def test_a_few_seconds_of_a_server_whose_clock_jumps_bury_nobody() -> None:
    shape = replace(SLICE, name="clock", seconds=12.0, only=("clock_jump",))
    with TemporaryDirectory(prefix="orch-chaos-") as folder:
        root = Path(folder) / "run"
        outcome = await Run(shape, "clock", root).whole()
        logs = "\n".join(_last_words(path) for path in sorted(root.glob("*.log")))
        assert outcome.violations == [], logs
        assert outcome.invalid == [], "it jumped, and jobs were done"
        said = "".join(path.read_text(errors="replace") for path in root.glob("*-*.log"))
        assert '"event": ' in said, "what happens is told there"
        assert '"event": "buried"' not in said
        assert '"event": "runner_over"' not in said


@pytest.mark.req("REA-4", "REA-1")
async def test_a_runner_that_dies_with_all_reapers_is_buried_by_one_that_comes_back_and_not_sooner() -> (
    None
):
    one = Measurement(1_000, 3.0, "new-reaper", at_once=2)
    with TemporaryDirectory(prefix="orch-chaos-") as folder:
        outcome, figures = await measure("slice", Path(folder), one)
    assert (outcome.violations, outcome.invalid) == ([], [])
    assert figures["kills"] == 2 * figures["moments"] >= 2
    assert figures["jobs"] + figures["struck_twice"] >= figures["kills"]
    # It begins to count when it is back: nobody told it what the others had seen.
    assert figures["min_ms"] >= REAPERS_BACK_MS + one.lease_ms


@pytest.mark.req("SIM-2", "ADM-1")
async def test_a_few_seconds_on_a_disk_that_is_full_again_and_again_lose_nothing() -> None:
    if reason := why_not():
        pytest.skip(reason)
    shape = replace(SLICE, name="full", small_disk=True, only=("disk_full", "kill_runner"))
    with TemporaryDirectory(prefix="orch-chaos-") as folder:
        root = Path(folder) / "run"
        outcome = await Run(shape, "full", root).whole()
        logs = "\n".join(_last_words(path) for path in sorted(root.glob("*.log")))
        assert outcome.violations == [], logs
        assert outcome.invalid == []
        assert outcome.nemesis is not None
        assert outcome.nemesis.counts["disk_full"]
        assert "AOF write error" in (root / "server.log").read_text(errors="replace")
        assert any((root / "data").rglob("*.aof")), "they are kept as evidence"


def _last_words(path: Path) -> str:
    return f"{path.name}: {path.read_text(errors='replace')[-400:]}"
