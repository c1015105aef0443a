"""What a process exports, broken once against each rule of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.lint.saying import said

HEAD: Final = (
    "# HELP orch_reaper_repairs_total Indexes that disagreed with a job or an instance and were mended.\n"
    "# TYPE orch_reaper_repairs_total counter\n"
)
SWEEP: Final = (
    "# HELP orch_reaper_sweep_seconds How long a repair sweep over all keys took.\n"
    "# TYPE orch_reaper_sweep_seconds histogram\n"
)


def buckets(*counts: int, total: int, last: str = "+Inf") -> str:
    bounds = ["0.05", "0.1", "0.5", "1.0", "5.0", "15.0", "60.0", "300.0", last]
    lines = [
        f'orch_reaper_sweep_seconds_bucket{{le="{bound}"}} {count}\n'
        for bound, count in zip(bounds, counts, strict=True)
    ]
    return (
        SWEEP
        + "".join(lines)
        + f"orch_reaper_sweep_seconds_count {total}\norch_reaper_sweep_seconds_sum 1\n"
    )


def pools(count: int) -> str:
    head = (
        "# HELP orch_runner_slots Jobs this runner may run at once.\n"
        "# TYPE orch_runner_slots gauge\n"
    )
    return head + "".join(f'orch_runner_slots{{pool="p{n}"}} 1\n' for n in range(count))


SCRAPED: Final[Mapping[str, tuple[str, str]]] = {
    "not in the contract": (
        "# HELP orch_extra More.\n# TYPE orch_extra gauge\norch_extra 1\n",
        "part orch_extra: is exported and stands in no contract | Give it a row in contracts/metrics.py",
    ),
    "another type": (
        "# HELP orch_ready 1 while ready.\n# TYPE orch_ready counter\norch_ready_total 1\n",
        "orch_ready_total: is exported and stands in no contract",
    ),
    "a counter as a gauge": (
        HEAD.replace("counter", "gauge") + 'orch_reaper_repairs_total{index="queue"} 1\n',
        "part orch_reaper_repairs_total: is a gauge | Make it a counter, or change the row",
    ),
    "another help": (
        HEAD.replace("mended", "broken") + 'orch_reaper_repairs_total{index="queue"} 1\n',
        "part orch_reaper_repairs_total: has another help text | Take it from contracts/metrics.py.",
    ),
    "another label": (
        HEAD + 'orch_reaper_repairs_total{what="queue"} 1\n',
        "part orch_reaper_repairs_total: has the labels what | It has index in contracts/metrics.py.",
    ),
    "another value": (
        HEAD + 'orch_reaper_repairs_total{index="quue"} 1\n',
        "orch_reaper_repairs_total{index}: has the value 'quue' | Add it to the label's values",
    ),
    "more values than allowed": (
        pools(65),
        "orch_runner_slots{pool}: has 65 values, at most 64 are allowed | Bound what comes in",
    ),
    "more series than its budget": (
        pools(3),
        "part orch_runner_slots: has 3 series, its budget is 1 | Find the label that grows",
    ),
    "buckets that are summed twice": (
        buckets(1, 2, 3, 4, 5, 6, 7, 8, 9, total=3),
        "part orch_reaper_sweep_seconds: its buckets are not cumulative | A bucket counts all values up to",
    ),
    "buckets that shrink": (
        buckets(3, 2, 3, 3, 3, 3, 3, 3, 3, total=3),
        "part orch_reaper_sweep_seconds: its buckets are not cumulative",
    ),
    "other buckets": (
        buckets(1, 1, 1, 1, 1, 1, 1, 1, 1, total=1).replace('"60.0"', '"90.0"'),
        "part orch_reaper_sweep_seconds: has other buckets | Take them from contracts/metrics.py.",
    ),
    "no exposition": ("orch_ready{ 1\n", "part: cannot be read: "),
}  # fmt: skip


@pytest.mark.req("MET-1", "MET-2")
@pytest.mark.parametrize("what", SCRAPED)
def test_a_scrape_that_breaks_the_contract_is_refused(checkout: Path, what: str) -> None:
    text, wanted = SCRAPED[what]
    found = said(checkout, "scrape", {"part": text})
    assert any(wanted in one for one in found), found


@pytest.mark.req("MET-1")
def test_what_no_process_exports_is_missed_when_all_were_asked(checkout: Path) -> None:
    found = said(checkout, "scrape", {"part": pools(1)}, is_whole=True)
    assert (
        "orch_ready: is exported by no process | Make it in orch/telemetry/health.py when the process"
        " starts, or take the row out."
    ) in found
    assert not any("orch_runner_slots" in one for one in found)


@pytest.mark.req("MET-2")
def test_more_series_in_one_process_than_the_limit_are_refused(checkout: Path) -> None:
    found = said(checkout, "scrape", {"part": pools(4_001)})
    assert any("all: one process exports 4001 series, the limit is 4000" in one for one in found)
