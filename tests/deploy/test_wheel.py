"""The wheel: the same bytes wherever it is built, all that runs and no more, and a stranger can use it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from ops.release import ROOT, NotReleasableError
from ops.release.checksums import digest_of
from ops.release.commit import EPOCH_MAX, EPOCH_MIN, PACKED, VARIABLE, epoch
from ops.release.wheel import build
from orch import __version__
from orch.store.library import library

SECONDS = 1_760_000_000
PACKAGES = ("contracts", "orch", "actors")


def sources() -> list[Path]:
    """Every file that a wheel is built from, as this tree has it."""
    found = [path for name in PACKED for path in (ROOT / name, *(ROOT / name).rglob("*"))]
    return sorted(path for path in found if path.is_file() and "__pycache__" not in path.parts)


def copied(folder: Path) -> Path:
    """The sources alone and elsewhere, written in another order, with other times and modes."""
    for path in reversed(sources()):
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        target.chmod(0o600)
        os.utime(target, (10**9, 10**9))
    return folder


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    return build(ROOT, tmp_path_factory.mktemp("dist"), seconds=SECONDS)


@pytest.mark.req("REL-1")
def test_two_builds_in_two_places_give_the_same_bytes(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    monkeypatch.setenv(VARIABLE, "1")  # what is asked for counts, not what is around
    umask = os.umask(0o077)
    try:
        elsewhere = copied(tmp_path / "a longer name of a folder")
        again = build(elsewhere, tmp_path / "dist", seconds=SECONDS)
    finally:
        os.umask(umask)
    assert again.name == wheel.name == f"orch-{__version__}-py3-none-any.whl"
    assert digest_of(again) == digest_of(wheel)


@pytest.mark.req("REL-1")
def test_every_file_has_the_time_of_the_commit_and_a_plain_mode(wheel: Path) -> None:
    entries = zipfile.ZipFile(wheel).infolist()
    assert {one.date_time for one in entries} == {(2025, 10, 9, 8, 53, 20)}
    assert {oct(one.external_attr >> 16 & 0o777) for one in entries} <= {"0o644", "0o755"}


@pytest.mark.req("REL-1")
def test_the_wheel_holds_what_runs_and_nothing_of_the_workshop(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = [f"{name}/py.typed" for name in PACKAGES]
    for pattern in ("orch/store/functions/*.lua", "contracts/schemas/v1/*.json"):
        found = [path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern)]
        assert found, pattern
        wanted += found
    about = f"orch-{__version__}.dist-info"
    wanted += [f"{about}/licenses/LICENSE", f"{about}/METADATA", f"{about}/entry_points.txt"]
    assert set(wanted) - held == set()
    assert {name.partition("/")[0] for name in held} == {*PACKAGES, about}
    assert not [name for name in held if re.search(r"(^|/)(tests?|ops|bench|docs)/", name)]
    assert not [name for name in held if name.endswith((".pyc", ".tmp", ".orig"))]
    assert zipfile.ZipFile(wheel).read(wanted[-3]) == (ROOT / "LICENSE").read_bytes()


def installed_in(place: Path, wheel: Path) -> Path:
    """A new environment with the wheel; what it needs is seen through a path file, so nothing is fetched."""
    venv = place / "venv"
    base = Path(sys.base_prefix) / "bin" / "python3"
    python = venv / "bin" / "python"
    shared = sysconfig.get_path("purelib")
    for words in (
        [sys.executable, "-m", "venv", "--without-pip", str(venv)],
        [str(base), "-m", "pip", "--python", str(python), "--disable-pip-version-check", "-q",
         "install", "--no-deps", "--no-index", "--no-compile", str(wheel)],
    ):  # fmt: skip
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=place)
        assert done.returncode == 0, done.stderr
    (site,) = venv.glob("lib/python3.*/site-packages")
    (site / "shared.pth").write_text(f"{shared}\n")
    return venv


@pytest.mark.req("REL-1")
def test_a_stranger_installs_it_and_both_commands_run(wheel: Path, tmp_path: Path) -> None:
    venv = installed_in(tmp_path, wheel)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def said(*words: str) -> str:
        done = subprocess.run(
            [str(venv / "bin" / words[0]), *words[1:]],
            cwd=elsewhere,
            env={"PATH": os.defpath, "HOME": str(elsewhere)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    look = (
        "import orch; from orch.store.library import library as l; print(orch.__file__, *l().verbs)"
    )
    where, *verbs = said("python", "-c", look).split()
    assert Path(where).is_relative_to(venv)
    assert verbs == list(library().verbs)
    assert "submit" in said("orch", "--help")
    assert "runner" in said("python", "-m", "actors", "--help")


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.req("REL-1")
def test_a_build_that_fails_leaves_the_last_wheel_and_a_good_one_replaces_it(
    tmp_path: Path,
) -> None:
    source, dist = tmp_path / "source", tmp_path / "dist"
    for name in PACKAGES:
        (source / name).mkdir(parents=True)
        (source / name / "__init__.py").write_text('__version__ = "0.0.7"\n')
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, source / name)
    dist.mkdir()
    (dist / "orch-0.0.6-py3-none-any.whl").write_bytes(b"the last one")
    (source / "orch" / "__init__.py").write_text("no version\n")
    with pytest.raises(NotReleasableError, match="the backend failed"):
        build(source, dist, seconds=SECONDS)
    assert [path.name for path in dist.iterdir()] == ["orch-0.0.6-py3-none-any.whl"]
    (source / "orch" / "__init__.py").write_text('__version__ = "0.0.7"\n')
    build(source, dist, seconds=SECONDS)
    assert [path.name for path in dist.iterdir()] == ["orch-0.0.7-py3-none-any.whl"]
    first = digest_of(dist / "orch-0.0.7-py3-none-any.whl")
    build(source, dist, seconds=SECONDS + 2)  # a zip file counts in steps of two
    assert digest_of(dist / "orch-0.0.7-py3-none-any.whl") != first


@pytest.mark.req("REL-1")
@pytest.mark.parametrize("text", ["soon", "-1", "1.5", "٣", "9" * 40, "0", str(EPOCH_MAX + 1)])
def test_a_time_that_is_none_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(NotReleasableError, match=VARIABLE):
        epoch(ROOT, {VARIABLE: text})


@pytest.mark.req("REL-1")
def test_the_time_is_the_given_one_or_that_of_the_last_commit(tmp_path: Path) -> None:
    assert epoch(tmp_path, {VARIABLE: str(EPOCH_MIN)}) == EPOCH_MIN
    told = ["git", "-C", str(ROOT), "show", "--no-patch", "--format=%ct", "HEAD"]
    done = subprocess.run(told, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        assert epoch(ROOT, {}) == int(done.stdout)
    with pytest.raises(NotReleasableError, match="git"):
        epoch(tmp_path, {})
