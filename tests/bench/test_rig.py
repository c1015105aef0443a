"""The rig measures real programs: Orch, a newcomer's folder, and one that does not work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.noise import judge
from bench.plan import QUICK, Sizes
from bench.processes import Process, is_alive, kill_tree, start, tree_of
from bench.report import document, write
from bench.roster import Peer, all_peers, chosen
from bench.rows import rows_of
from bench.run import Run

HERE = Path(__file__).parent
TINY = Sizes(
    sizing=100, seconds=0.1, jobs_min=700, jobs_max=2_000,
    repetitions={"none": 1, "always": 1}, busy=3, idle=0, idle_s=0.1,
    recovery_s=1, backlogs=(), million=0, http_s=0.1, watchers=3, floor=100, compare_all=False,
)  # fmt: skip
NEWCOMER = """
[newcomer]
settings = "one list"
stores_result = true

[broken]
settings = "none"
stores_result = false
"""


def newcomers(tmp_path: Path) -> list[Peer]:
    """The peers of a copied folder."""
    folder = tmp_path / "peers" / "newcomer"
    folder.mkdir(parents=True)
    shutil.copy(HERE / "driver_of_a_newcomer.py", folder / "driver.py")
    (folder / "peer.toml").write_text(NEWCOMER)
    return all_peers(tmp_path / "peers")


@pytest.mark.req("PERF-1")
def test_one_run_measures_orch_beside_a_newcomer_and_says_what_did_not_work(tmp_path: Path) -> None:
    peers = [*chosen(all_peers(), ["orch"])[:1], *newcomers(tmp_path)]
    run = Run(peers, TINY, frozenset({"drain"}), modes=("none",))

    run.measure()
    rows = rows_of(run.samples)
    write(
        tmp_path,
        document(peers, rows, judge((10.0, 0.0), (1.0, 1.0), 0.0, 0.0), kind="test", seconds=1.0),
        rows,
    )

    found = json.loads((tmp_path / "latest.json").read_text())
    assert {"machine", "versions", "noisy", "rows", "ratios"} <= found.keys()
    assert all(row.keys() - {"note"} == ROW for row in found["rows"])
    by = {(row["peer"], row["measure"]): row for row in found["rows"]}
    for peer in ("orch", "newcomer"):
        for measure in ("enqueue_one", "enqueue_bulk", "drain_1", "server_us_per_job_1"):
            assert by[peer, measure]["value"] > 0
    # Everything a job leaves in the server, within an order of magnitude: the ledger is there.
    assert 200 < by["orch", "bytes_finished"]["value"] < 5_000
    assert by["broken", "drain_1"]["value"] is None
    assert "this peer never works" in by["broken", "drain_1"]["note"]
    ratio = found["ratios"]["drain_vs_fastest"]
    quotient = by["orch", "drain_1"]["value"] / by["newcomer", "drain_1"]["value"]
    assert ratio["value"] == pytest.approx(quotient, rel=1e-3)
    assert ratio["met"] is (quotient >= 3)
    assert "broken" in (tmp_path / "latest.md").read_text()


ROW = {"peer", "measure", "mode", "value", "unit", "spread"}


def test_what_does_not_begin_in_time_is_left_out_and_says_so(tmp_path: Path) -> None:
    peers = newcomers(tmp_path)

    run = Run(peers, TINY, frozenset({"drain"}), modes=("none",), minutes=0)
    run.measure()

    assert {sample.note for sample in run.samples} == {"left out: the time was up"}
    assert {sample.peer for sample in run.samples} == {"newcomer", "broken"}


def test_a_killed_tree_leaves_nobody(tmp_path: Path) -> None:
    words = ["sh", "-c", "sleep 600 & setsid sleep 600 & wait"]
    top = start(words, log=tmp_path / "log")
    while len(tree := tree_of([top.pid])) < 3 and top.is_alive():
        Process.pause()

    kill_tree([top])

    assert len(tree) == 3
    assert not any(is_alive(pid) for pid in tree)


def test_a_name_that_nobody_has_is_refused() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "bench", "--only", "sidekiq"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ},
    )

    assert ended.returncode == 2
    assert "no peer sidekiq" in ended.stderr


def locks() -> list[Any]:
    return [peer for peer in all_peers() if not peer.is_ours]


@pytest.mark.parametrize("peer", locks(), ids=lambda peer: peer.name)
def test_every_peer_is_locked_by_hash_and_without_an_address(peer: Peer) -> None:
    name = "package-lock.json" if peer.driver.suffix == ".mjs" else "requirements.lock"
    text = (peer.folder / name).read_text()

    assert peer.versions()
    assert "sha256:" in text or "sha512-" in text
    assert "resolved" not in text
    assert "://" not in text


def test_a_quick_run_has_orch_and_peers_of_both_kinds() -> None:
    quick = [peer for peer in all_peers() if peer.quick]

    assert quick[0].name == "orch"
    assert {peer.stores_result for peer in quick if not peer.is_ours} == {True, False}
    assert QUICK.million == 0
