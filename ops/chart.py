"""`make chart`: the chart as an archive that is the same, byte for byte, wherever and whenever it is made.

Helm writes the times of files into its archive, and the files of a checkout bear the time of the checkout.
Here every entry bears SOURCE_DATE_EPOCH, or no time at all; names are sorted, owners and modes are nobody's.
What `.helmignore` names stays out. A test lets Helm read it, and compares it with what Helm packs itself.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import sys
import tarfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from ruamel.yaml import YAML

CHART: Final = Path(__file__).resolve().parents[1] / "charts" / "orch"
_MODE: Final = 0o644


def ignored(name: str, patterns: list[str]) -> bool:
    """Whether a file of the chart stays out: by its name, or by a folder that it is in."""
    *folders, last = name.split("/")
    for pattern in patterns:
        if pattern.endswith("/"):
            if any(fnmatch(folder, pattern[:-1]) for folder in folders):
                return True
        elif any(fnmatch(part, pattern) for part in (*folders, last)):
            return True
    return False


def files_of(chart: Path) -> Iterator[tuple[str, bytes]]:
    """What the archive holds, by its name in the chart, sorted."""
    lines = (chart / ".helmignore").read_text(encoding="utf-8").splitlines()
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    names = (path.relative_to(chart).as_posix() for path in chart.rglob("*") if path.is_file())
    for name in sorted(names):
        if not ignored(name, patterns):
            yield name, (chart / name).read_bytes()


def archive_of(chart: Path, *, made_at_s: int = 0) -> bytes:
    """A gzipped tar of the chart. The same files give the same bytes, with the same zlib."""
    told = YAML(typ="safe").load((chart / "Chart.yaml").read_text(encoding="utf-8"))
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files_of(chart):
            entry = tarfile.TarInfo(f"{told['name']}/{name}")
            entry.size, entry.mode, entry.mtime = len(content), _MODE, made_at_s
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=made_at_s)


def package(chart: Path, folder: Path, *, made_at_s: int = 0) -> Path:
    """Writes `<name>-<version>.tgz` into the folder; where it is."""
    told = YAML(typ="safe").load((chart / "Chart.yaml").read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{told['name']}-{told['version']}.tgz"
    path.write_bytes(archive_of(chart, made_at_s=made_at_s))
    return path


def main() -> int:
    """Packs the chart of this checkout, and says what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=CHART.parents[1] / "dist")
    made_at_s = int(os.environ.get("SOURCE_DATE_EPOCH") or 0)
    path = package(CHART, parser.parse_args().out, made_at_s=made_at_s)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    print(f"{path}  sha256:{digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
