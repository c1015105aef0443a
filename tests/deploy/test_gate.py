"""The last look before a release: dist/ is this commit's, whole and unchanged, or it does not go out."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.release import ROOT, NotReleasableError, checksums, gate
from ops.release.commit import epoch
from ops.release.sbom import NAME as BOM
from ops.release.wheel import build
from orch import __version__

TAG = f"v{__version__}"
WHEEL = f"orch-{__version__}-py3-none-any.whl"


def git(root: Path, *words: str) -> None:
    who = ["-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    hooks = ["-c", "core.hooksPath=/dev/null"]
    subprocess.run(["git", "-C", str(root), *who, *hooks, *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project of our shape, committed and tagged, with its release in dist/."""
    root = tmp_path_factory.mktemp("project")
    for name in ("contracts", "orch", "actors"):
        (root / name).mkdir()
        shutil.copyfile(ROOT / "orch" / "__init__.py", root / name / "__init__.py")
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copyfile(ROOT / name, root / name)
    (root / "CHANGELOG.md").write_text(f"# Changelog\n\n## {__version__}\n\n- All of it.\n")
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "all of it")
    git(root, "tag", TAG)
    build(root, root / "dist", seconds=epoch(root, {}))
    (root / "dist" / BOM).write_text(
        f'{{"metadata":{{"component":{{"version":"{__version__}"}}}}}}'
    )
    sums = checksums.digests(root / "dist")
    (root / "dist" / checksums.NAME).write_text(checksums.text_of(sums))
    return root


@pytest.fixture
def project(ready: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(ready, tmp_path / "project"))


def summed(dist: Path) -> None:
    """The checksums of whatever lies there now."""
    (dist / checksums.NAME).write_text(checksums.text_of(checksums.digests(dist)))


@pytest.mark.req("REL-2")
def test_what_the_commit_gives_may_go_out(project: Path) -> None:
    assert gate.faults(project, project / "dist", TAG) == []


@pytest.mark.req("REL-2")
def test_the_checksums_are_what_sha256sum_reads(project: Path) -> None:
    words = ["sha256sum", "--check", "--strict", checksums.NAME]
    done = subprocess.run(words, cwd=project / "dist", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{WHEEL}: OK\n{BOM}: OK\n")


@pytest.mark.req("REL-2")
def test_a_wheel_that_the_commit_does_not_give_is_held_back(project: Path) -> None:
    (project / "orch" / "more.py").write_text('"""Not committed."""\n')
    build(project, project / "dist", seconds=epoch(project, {}))
    summed(project / "dist")
    assert gate.faults(project, project / "dist", None) == [
        "not in the commit: ?? orch/more.py",
        f"{WHEEL} is not what the commit gives: make wheel",
    ]


@pytest.mark.req("REL-2")
@pytest.mark.parametrize(
    ("tag", "fault"),
    [
        ("v9.9.9", f"the tag is v9.9.9, the version {__version__}"),
        (__version__, f"the tag is {__version__}, the version"),
        (f"{TAG}; true", "the tag is"),
    ],
)
def test_a_tag_of_another_version_is_held_back(project: Path, tag: str, fault: str) -> None:
    (told,) = gate.tag_faults(project, tag, __version__)
    assert told.startswith(fault)


@pytest.mark.req("REL-2")
def test_a_tag_of_another_commit_or_without_a_word_in_the_changelog_is_held_back(
    project: Path,
) -> None:
    (project / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n")
    git(project, "commit", "--quiet", "-a", "-m", "later")
    assert list(gate.tag_faults(project, TAG, __version__)) == [
        f"{TAG} is another commit than the one that is checked out",
        f"CHANGELOG.md has no heading '## {__version__}'",
    ]


SPOILS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a changed file": (
        lambda dist: (dist / BOM).write_text((dist / BOM).read_text() + "\n"),
        f"{BOM} has changed since SHA256SUMS was written",
    ),
    "a file too many": (
        lambda dist: (dist / "extra.txt").write_text("?"),
        "extra.txt is not in SHA256SUMS: make checksums",
    ),
    "a file too few": (
        lambda dist: (dist / WHEEL).unlink(),
        f"{WHEEL} is in SHA256SUMS and not in dist/",
    ),
    "no checksums": (
        lambda dist: (dist / "SHA256SUMS").unlink(),
        "SHA256SUMS is missing: make checksums",
    ),
    "a line that is none": (
        lambda dist: (dist / "SHA256SUMS").write_text(
            (dist / "SHA256SUMS").read_text() + "../../etc\n"
        ),
        "SHA256SUMS: '../../etc' is no line of it",
    ),
}


@pytest.mark.req("REL-2")
@pytest.mark.parametrize("name", SPOILS)
def test_files_that_are_not_those_of_the_checksums_are_held_back(project: Path, name: str) -> None:
    spoil, fault = SPOILS[name]
    spoil(project / "dist")
    assert checksums.faults(project / "dist") == [fault]


@pytest.mark.req("REL-2")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda dist: (dist / "a folder").mkdir(),
        lambda dist: (dist / "link.whl").symlink_to("/etc/passwd"),
        lambda dist: (dist / "two\nlines").write_text("?"),
        lambda dist: (dist / ".hidden").write_text("?"),
        lambda dist: [(dist / f"{n}.txt").touch() for n in range(checksums.FILES_MAX)],
        lambda dist: [path.unlink() for path in dist.iterdir()],
    ],
    ids=["a folder", "a link", "a strange name", "a hidden file", "too many", "nothing"],
)
def test_what_cannot_go_out_is_refused(project: Path, spoil: Callable[[Path], object]) -> None:
    spoil(project / "dist")
    with pytest.raises(NotReleasableError, match="dist/ holds"):
        checksums.digests(project / "dist")


@pytest.mark.req("REL-2")
def test_a_bill_of_another_version_and_what_an_earlier_one_left_are_held_back(
    project: Path,
) -> None:
    dist = project / "dist"
    (dist / BOM).write_text('{"metadata":{"component":{"version":"0.0.1"}}}')
    (dist / "orch-0.0.1-image.tar.gz").write_text("old")
    assert list(gate.bom_faults(dist, __version__)) == [
        f"{BOM} is of 0.0.1, not of {__version__}: make sbom"
    ]
    assert [one.split()[0] for one in gate.stray_faults(dist, __version__)] == [
        "dist/orch-0.0.1-image.tar.gz"
    ]
    (dist / BOM).write_text("[]")
    assert list(gate.bom_faults(dist, __version__)) == [
        f"{BOM} is of nothing, not of {__version__}: make sbom"
    ]
