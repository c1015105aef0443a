"""`orch lint metrics`: what it prints, and how it ends."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ops.generate import ROOT
from orch.lint.queries import queries_below


def lint(*words: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    env = {} if path is None else {"PATH": path}
    argv = [sys.executable, "-m", "orch.cli.main", "lint", "metrics", *words]
    return subprocess.run(
        argv, capture_output=True, text=True, cwd=ROOT, env=env or None, check=False
    )


@pytest.fixture
def scrape(tmp_path: Path) -> Path:
    path = tmp_path / "part.prom"
    path.write_text("# HELP orch_odd Odd.\n# TYPE orch_odd gauge\norch_odd 1\n")
    return path


@pytest.mark.req("MET-1", "CLI-2")
def test_a_sound_checkout_ends_with_0_and_says_what_was_not_looked_at() -> None:
    done = lint()
    assert (done.returncode, done.stdout) == (0, "")
    assert "not looked at: no process was looked at: give --live or --scrape" in done.stderr
    assert "0 faults in" in done.stderr


@pytest.mark.req("MET-1", "CLI-2")
def test_a_fault_is_data_with_what_mends_it_and_ends_with_1(scrape: Path) -> None:
    done = lint("--scrape", str(scrape))
    assert done.returncode == 1
    fault, fix = done.stdout.splitlines()[:2]
    assert fault == f"scrape: {scrape} orch_odd: is exported and stands in no contract"
    assert fix == "  Give it a row in contracts/metrics.py, or do not export it."


@pytest.mark.req("MET-1", "CLI-2")
def test_as_json_it_is_one_document(scrape: Path) -> None:
    document = json.loads(lint("--scrape", str(scrape), "--json").stdout)
    assert document["ok"] is False
    assert document["faults"][0]["rule"] == "scrape"
    assert document["faults"][0].keys() == {"rule", "where", "message", "fix"}
    assert document["counted"]["scrapes"] == 1


@pytest.mark.req("MET-1")
def test_without_promtool_it_says_so_with_how_much_is_unchecked(
    scrape: Path, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    said = lint("--scrape", str(scrape), path=str(tmp_path / "bin")).stderr
    assert "promtool is not installed" in said
    asked = len(queries_below(ROOT))
    assert f"1 scrapes, and the grammar of {asked} queries" in said


@pytest.mark.req("MET-1", "CLI-2")
def test_what_cannot_be_read_or_does_not_run_is_bad_input_or_missing(tmp_path: Path) -> None:
    gone = lint("--scrape", str(tmp_path / "gone"))
    assert (gone.returncode, gone.stderr.startswith("INVALID_REQUEST: ")) == (6, True)
    silent = lint("--live", "--home", str(tmp_path))
    assert (silent.returncode, silent.stderr.startswith("UNAVAILABLE: nothing runs in")) == (
        7,
        True,
    )
    elsewhere = lint("--root", str(tmp_path))
    assert elsewhere.returncode == 1
    assert "metrics.lint.json: there is none" in elsewhere.stdout
    shutil.copy(ROOT / "metrics.lint.json", tmp_path)
    assert "does not use it" not in lint("--root", str(tmp_path)).stdout
