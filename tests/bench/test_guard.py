"""The guard sees a ratio that got worse, whichever way worse is, and only then."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.guard import KEPT, NOISY, WORSE, accepted, compared
from bench.ratios import TARGETS


def results(path: Path, *, noisy: bool = False, **values: float) -> Path:
    ratios = {name: {"value": value, "target": None, "met": None} for name, value in values.items()}
    path.write_text(json.dumps({"noisy": noisy, "ratios": ratios}))
    return path


def guarded(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.guard", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def kept_value(name: str) -> float:
    value: float = json.loads(KEPT.read_text())[name]["value"]
    return value


@pytest.mark.req("PERF-3")
@pytest.mark.parametrize(
    ("name", "now", "worse"),
    [
        ("drain_vs_fastest", 0.76, False),
        ("drain_vs_fastest", 0.74, True),
        ("start_busy_p50_vs_best", 1.24, False),
        ("start_busy_p50_vs_best", 1.26, True),
    ],
)
def test_a_ratio_may_get_worse_by_its_margin_and_no_more(
    name: str, now: float, worse: bool
) -> None:
    kept = {name: {"value": 1.0, "margin": 0.25}}
    (row,) = compared({name: {"value": now}}, kept)
    assert row.is_worse is worse
    assert ("WORSE" in row.line()) is worse


def test_what_was_not_measured_or_not_kept_is_not_compared() -> None:
    kept = {"bytes_queued": {"value": 500, "margin": 0.1}}
    assert compared({"bytes_finished": {"value": 9_000}}, kept) == []


def test_accepting_keeps_margins_and_what_was_not_measured() -> None:
    kept: dict[str, Any] = {
        "bytes_queued": {"value": 500, "margin": 0.02},
        "bytes_finished": {"value": 900, "margin": 0.02},
    }
    new = accepted({"bytes_queued": {"value": 400}, "idle_cpu": {"value": 0.1}}, kept)
    assert new == {
        "bytes_queued": {"value": 400, "margin": 0.02},
        "bytes_finished": {"value": 900, "margin": 0.02},
        "idle_cpu": {"value": 0.1, "margin": 0.25},
    }


@pytest.mark.req("PERF-3")
def test_the_command_fails_on_a_worse_ratio_and_says_when_it_cannot_tell(tmp_path: Path) -> None:
    bytes_now = kept_value("bytes_queued")
    assert guarded(results(tmp_path / "same.json", bytes_queued=bytes_now)).returncode == 0
    worse = results(tmp_path / "worse.json", bytes_queued=bytes_now * 2)
    said = guarded(worse)
    assert said.returncode == WORSE, said.stderr
    assert "bytes_queued" in said.stdout
    noisy = results(tmp_path / "noisy.json", noisy=True, bytes_queued=bytes_now * 2)
    assert guarded(noisy).returncode == NOISY


def test_only_ratios_that_the_rig_measures_are_kept() -> None:
    names = {target.name for target in TARGETS}
    kept = json.loads(KEPT.read_text())
    assert set(kept) <= names
    assert all(0 < row["margin"] < 1 and row["value"] > 0 for row in kept.values())
