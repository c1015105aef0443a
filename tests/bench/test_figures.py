"""From samples to rows, ratios, verdicts and pages: arithmetic, without any server."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.chart import chart
from bench.measures.latency import percentile
from bench.measures.throughput import Load, rate
from bench.noise import Noise, judge
from bench.ratios import ratios_of, view_of
from bench.report import markdown
from bench.room import Failed, Mark
from bench.roster import Peer
from bench.rows import Row, Sample, Table, rows_of

SECOND_NS = 1_000_000_000


def a_peer(name: str, *, stores_result: bool = False) -> Peer:
    folder = Path("peers", "orch" if name == "orch" else name)
    return Peer(name, folder, "tuned", stores_result, has_stack=False, quick=True, ended_keys="")


def a_row(peer: str, measure: str, value: float | None, mode: str = "none", note: str = "") -> Row:
    return Row(peer, measure, mode, value, "jobs/s", None if value is None else 0.0, note)


PEERS = [a_peer("orch", stores_result=True), a_peer("quick"), a_peer("keeps", stores_result=True)]


# -- rows


def test_a_row_is_the_median_with_the_spread_of_its_repetitions() -> None:
    samples = [Sample("orch", "drain_1", "none", value, "jobs/s") for value in (90, 120, 100)]

    assert rows_of(samples) == [Row("orch", "drain_1", "none", 100, "jobs/s", 0.3)]


def test_a_repetition_that_failed_leaves_its_note_beside_the_others() -> None:
    samples = [
        Sample("arq", "drain_1", "none", 100.0, "jobs/s"),
        Sample("arq", "drain_1", "none", None, "", "it died"),
    ]

    assert rows_of(samples) == [Row("arq", "drain_1", "none", 100.0, "jobs/s", 0.0, "it died")]


def test_modes_are_never_mixed() -> None:
    samples = [Sample("arq", "drain_1", mode, 1.0, "jobs/s") for mode in ("none", "always")]

    assert [row.mode for row in rows_of(samples)] == ["none", "always"]


# -- ratios


def test_a_ratio_is_taken_to_the_fastest_and_to_the_fastest_that_stores() -> None:
    rows = [
        a_row("orch", "drain_1", 30_000),
        a_row("quick", "drain_1", 12_000),
        a_row("keeps", "drain_1", 5_000),
        a_row("bare-fastapi", "drain_1", 90_000),
    ]

    ratios = ratios_of(view_of(Table(rows), PEERS))

    assert ratios["drain_vs_fastest"] == {"value": 2.5, "target": 3, "met": False}
    assert ratios["drain_vs_fastest_storing"] == {"value": 6.0, "target": 5, "met": True}


def test_the_best_latency_is_the_lowest() -> None:
    rows = [
        a_row("orch", "start_busy_p50", 1.0),
        a_row("quick", "start_busy_p50", 0.8),
        a_row("keeps", "start_busy_p50", 2.0),
    ]

    ratios = ratios_of(view_of(Table(rows), PEERS))

    assert ratios["start_busy_p50_vs_best"] == {"value": 1.25, "target": 1.1, "met": False}


def test_what_was_not_measured_has_no_ratio() -> None:
    rows = [a_row("orch", "drain_1", 30_000), a_row("quick", "drain_1", None, note="no node")]

    assert ratios_of(view_of(Table(rows), PEERS)) == {}


def test_modes_have_ratios_of_their_own() -> None:
    rows = [
        a_row("orch", "drain_1", 20_000, "always"),
        a_row("quick", "drain_1", 10_000, "always"),
        a_row("quick", "drain_1", 90_000),
    ]

    ratios = ratios_of(view_of(Table(rows), PEERS))

    assert ratios["drain_vs_fastest_always"]["value"] == 2.0
    assert "drain_vs_fastest" not in ratios


# -- the clock of a drain


def test_the_clock_runs_from_the_moment_when_all_workers_are_at_work() -> None:
    """The first worker is alone for a second; what it did then does not count."""
    alone = [Mark(n * SECOND_NS // 10, -1, 1) for n in range(10)]
    both = [Mark(SECOND_NS + n * SECOND_NS // 100, -1, 1 + n % 2) for n in range(100)]

    measured = rate([*alone, *both], 2 * SECOND_NS, Load("noop", 2, 110))

    assert measured == pytest.approx(100, rel=0.03)


def test_a_worker_that_came_too_late_makes_no_rate() -> None:
    marks = [Mark(n, -1, 1 if n < 60 else 2) for n in range(100)]

    with pytest.raises(Failed, match="1 of 2 workers"):
        rate(marks, SECOND_NS, Load("noop", 2, 100))


@pytest.mark.parametrize(("which", "expected"), [(50, 50.5), (99, 99.01)])
def test_percentiles_lie_between_the_values(which: int, expected: float) -> None:
    assert percentile(range(1, 101), which) == pytest.approx(expected)


def test_one_value_is_every_percentile() -> None:
    assert percentile([7], 99) == 7


# -- the verdict


@pytest.mark.parametrize(
    ("spread", "fsync_ratio", "steal", "others", "reasons"),
    [
        (0.1, 1.5, 0.0, 0.0, 0),
        (0.4, 1.5, 0.0, 0.0, 1),
        (0.1, 9.0, 0.0, 0.0, 1),
        (0.1, 1.5, 0.05, 0.0, 1),
        (0.1, 1.5, 0.0, 0.5, 1),
        (0.4, 9.0, 0.05, 0.5, 4),
    ],
    ids=["quiet", "slow spells", "a busy disk", "stolen", "shared", "everything"],
)
def test_noise_is_named(
    spread: float, fsync_ratio: float, steal: float, others: float, reasons: int
) -> None:
    verdict = judge((10.0, spread), (0.5, fsync_ratio), steal, others)

    assert verdict.noisy is (reasons > 0)
    assert len(verdict.reasons) == reasons


def test_a_look_at_this_machine_has_all_signs(tmp_path: Path) -> None:
    noise = Noise(tmp_path)

    noise.look()
    noise.look()
    verdict = noise.verdict()

    assert verdict.loop_ms > 0
    assert verdict.fsync_ms > 0
    assert 0 <= verdict.others <= 1
    assert verdict.fsync_ratio >= 1


# -- the page and the picture


@pytest.mark.parametrize("noisy", [True, False])
def test_the_page_says_when_the_machine_was_too_noisy(noisy: bool) -> None:
    rows = [a_row("orch", "drain_1", 30_000), a_row("quick", "drain_1", 10_000)]
    found = {
        "date": "2026-01-01",
        "kind": "test",
        "machine": {"cpus": 2, "cpu": "x", "memory_mib": 1, "kernel": "6"},
        "versions": {"server": "valkey 9.1"},
        "seconds": 1,
        "noisy": noisy,
        "noise": {"reasons": ["steal"]},
        "settings": {"orch": "tuned"},
        "ratios": ratios_of(view_of(Table(rows), PEERS)),
    }

    page = markdown(found, rows)

    assert ("too noisy to tell: steal" in page) is noisy
    assert "(`drain_vs_fastest`) | 3 | at least 3 | yes |" in page
    assert "| orch | 30,000 |" in page


def test_the_page_lists_what_was_not_measured() -> None:
    rows = [a_row("rq", name, None, note="not\nwithin 30 s") for name in ("recovery", "idle")]
    found = {
        "date": "", "kind": "", "machine": dict.fromkeys(("cpus", "cpu", "memory_mib", "kernel"), 1),
        "versions": {"server": ""}, "seconds": 1, "noisy": False, "settings": {}, "ratios": {},
    }  # fmt: skip

    assert "- rq (none), recovery, idle: not within 30 s" in markdown(found, rows)


def test_the_picture_has_a_bar_for_every_drain() -> None:
    rows = [
        a_row("orch", "drain_1", 200.0),
        a_row("orch", "drain_1", 100.0, "always"),
        a_row("<peer>", "drain_1", 50.0),
        a_row("silent", "drain_1", None),
    ]

    picture = ElementTree.fromstring(chart(rows))

    name = "{http://www.w3.org/2000/svg}"
    bars = [one for one in picture.iter(f"{name}rect") if one.get("height") == "10"]
    widths = [int(one.get("width") or 0) for one in bars if one.get("y") != "30"]
    assert widths == [480, 240, 120]
    assert "<peer>" in {one.text for one in picture.iter(f"{name}text")}
