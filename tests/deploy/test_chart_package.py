"""The archive of the chart: the same bytes wherever it is made, and to Helm the same chart as its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ops.chart import archive_of, files_of, ignored, package
from tests.deploy.chart import CHART, ROOT, values_of
from tests.deploy.tools import helm


def contents(archive: Path) -> dict[str, bytes]:
    """What an archive holds."""
    with tarfile.open(archive) as tar:
        return {
            one.name: found.read()
            for one in tar.getmembers()
            if one.isfile() and (found := tar.extractfile(one)) is not None
        }


def copied(folder: Path, at_s: int) -> Path:
    """A checkout of its own, with other times and modes."""
    chart = Path(shutil.copytree(CHART, folder / "orch"))
    for path in chart.rglob("*"):
        os.utime(path, (at_s, at_s))
        path.chmod(0o700 if path.is_dir() else 0o600)
    return chart


@pytest.mark.req("DEP-1", "REL-1")
def test_two_checkouts_give_the_same_archive(tmp_path: Path) -> None:
    one = package(copied(tmp_path / "a", 1_000_000_000), tmp_path / "out-a")
    other = package(copied(tmp_path / "b", 1_700_000_000), tmp_path / "out-b")
    assert one.name == other.name
    assert one.read_bytes() == other.read_bytes() == archive_of(CHART)
    assert one.read_bytes()[4:8] == bytes(4), "nor does the gzip around it say when it was made"


@pytest.mark.req("DEP-1", "REL-1")
def test_a_changed_file_or_time_gives_another(tmp_path: Path) -> None:
    chart = copied(tmp_path, 0)
    with (chart / "values.yaml").open("a") as file:
        file.write("# changed\n")
    assert archive_of(chart) != archive_of(CHART)
    assert archive_of(CHART, made_at_s=1) != archive_of(CHART)


@pytest.mark.req("DEP-1")
def test_the_archive_holds_the_chart_without_what_is_for_tests() -> None:
    names = {name for name, _ in files_of(CHART)}
    assert {"Chart.yaml", "values.yaml", "values.schema.json", "templates/NOTES.txt"} <= names
    assert {"files/rules.yaml", "files/dashboards/overview.json"} <= names
    assert not [name for name in names if name.startswith("ci/")]
    assert ignored("templates/x.swp", ["*.swp"])
    assert not ignored("templates/ci.yaml", ["ci/"])


@pytest.mark.req("DEP-1")
def test_make_chart_packs_it_and_says_where(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "ops.chart", "--out", str(tmp_path)]
    env = {**os.environ, "SOURCE_DATE_EPOCH": "0"}
    said = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    path, _, digest = said.stdout.strip().partition("  sha256:")
    assert Path(path).read_bytes() == archive_of(CHART)
    assert len(digest) == 64


@pytest.mark.req("DEP-1")
def test_to_helm_it_is_the_chart_and_holds_what_helm_would_pack(tmp_path: Path) -> None:
    library = helm()
    ours = package(CHART, tmp_path / "ours")
    theirs = contents(Path(library.package(str(CHART), destination=str(tmp_path))))
    found = contents(ours)
    assert set(found) == set(theirs)
    metadata = YAML(typ="safe")
    for name, text in found.items():
        if name == "orch/Chart.yaml":  # Helm writes it anew
            assert metadata.load(text) == metadata.load(theirs[name])
        else:
            assert text == theirs[name], name
    with library.Chart.load(str(ours)) as packed, library.Chart.load(str(CHART)) as chart:
        values = values_of("production-values.yaml")
        assert packed.render(values, name="x", namespace="y") == chart.render(
            values, name="x", namespace="y"
        )


@pytest.mark.req("DEP-1")
def test_helm_packs_the_same_bytes_from_the_same_files(tmp_path: Path) -> None:
    library = helm()
    made = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        made.append(
            Path(library.package(str(CHART), destination=str(tmp_path / folder))).read_bytes()
        )
    assert made[0] == made[1]
