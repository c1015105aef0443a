"""`python -m ops.release.gate [--tag v1.2.3]`: is what lies in dist/ the release of this commit?

The tree is clean, the wheel is built once more from the commit alone and has to be the same bytes, the bill
of materials is of this version, and every checksum is right. With a tag: it is the version's and the
commit's, and the changelog speaks of it. Without one it is a rehearsal, and says so.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ops.release import DIST, ROOT, NotReleasableError, ended
from ops.release.checksums import NAME as SUMS
from ops.release.checksums import digest_of
from ops.release.checksums import faults as checksum_faults
from ops.release.commit import changes, epoch, export, git
from ops.release.sbom import NAME as BOM
from ops.release.wheel import build


def tree_faults(root: Path) -> Iterator[str]:
    """Files that no commit has."""
    for line in changes(root)[:20]:
        yield f"not in the commit: {line}"


def tag_faults(root: Path, tag: str, version: str) -> Iterator[str]:
    """A tag that is not this version's, not this commit's, or that the changelog does not know."""
    if tag != f"v{version}":
        yield f"the tag is {tag}, the version {version}: orch/__init__.py says it"
        return
    if _commit(root, f"refs/tags/{tag}") != _commit(root, "HEAD"):
        yield f"{tag} is another commit than the one that is checked out"
    heads = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    if not re.search(rf"^## {re.escape(version)}\b", heads, re.MULTILINE):
        yield f"CHANGELOG.md has no heading '## {version}'"


def _commit(root: Path, name: str) -> str:
    return git(root, "rev-parse", "--verify", f"{name}^{{commit}}").decode().strip()


def wheel_faults(root: Path, dist: Path, version: str) -> Iterator[str]:
    """A wheel that is missing, or that the commit does not give."""
    wheels = sorted(dist.glob("*.whl"))
    if [one.name.split("-")[:2] for one in wheels] != [["orch", version]]:
        yield f"dist/ holds {[one.name for one in wheels]}, not one wheel of {version}: make wheel"
        return
    with tempfile.TemporaryDirectory(prefix="orch-gate-") as place:
        source, again = Path(place, "source"), Path(place, "dist")
        export(root, source)
        rebuilt = build(source, again, seconds=epoch(root))
        if digest_of(rebuilt) != digest_of(wheels[0]):
            yield f"{wheels[0].name} is not what the commit gives: make wheel"


def bom_faults(dist: Path, version: str) -> Iterator[str]:
    """A bill of materials that is missing or of another version."""
    path = dist / BOM
    if not path.is_file():
        yield f"{BOM} is missing: make sbom"
        return
    try:
        told = json.loads(path.read_bytes())["metadata"]["component"]["version"]
    except (ValueError, KeyError, TypeError):
        told = "nothing"
    if told != version:
        yield f"{BOM} is of {told}, not of {version}: make sbom"


def stray_faults(dist: Path, version: str) -> Iterator[str]:
    """What an earlier version left there."""
    for path in sorted(dist.glob("*")):
        if path.name not in (BOM, SUMS) and version not in path.name:
            yield f"dist/{path.name} does not name {version}: take it out, and make checksums"


def version_of(root: Path) -> str:
    """What the commit calls itself."""
    text = (root / "orch" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise NotReleasableError("orch/__init__.py says no version")
    return found[1]


def faults(root: Path, dist: Path, tag: str | None) -> list[str]:
    """All that stands in the way."""
    version = version_of(root)
    told = [] if tag is None else list(tag_faults(root, tag, version))
    told += tree_faults(root)
    told += wheel_faults(root, dist, version)
    told += bom_faults(dist, version)
    told += stray_faults(dist, version)
    return told + checksum_faults(dist)


def _act() -> None:
    parser = argparse.ArgumentParser(prog="python -m ops.release.gate", description=__doc__)
    parser.add_argument("--tag")
    tag: str | None = parser.parse_args().tag
    if told := faults(ROOT, DIST, tag):
        raise NotReleasableError("\n".join(told))
    what = f"{tag} may go out" if tag else "a rehearsal: as good as a release, but for its tag"
    sys.stdout.write(f"{what}\n")


if __name__ == "__main__":
    sys.exit(ended(_act))
