"""Who is compared: one folder a peer under bench/peers, one or more variants of it.

`peer.toml` says the settings in words and which variants store a result; `driver.py` (or `driver.mjs`)
speaks the protocol of bench/README.md. Nothing here knows a peer by name, but Orch: it is judged.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PEERS: Final = Path(__file__).resolve().parent / "peers"
_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)(?:\[.*\])?==(\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Peer:
    """One column of the comparison."""

    name: str
    """Unique: the variant's name."""
    folder: Path
    settings: str
    """Its tuned settings in words, for the table."""
    stores_result: bool
    has_stack: bool
    """Whether it needs processes besides its workers (verb `stack`)."""
    quick: bool
    """Whether a quick run includes it."""
    ended_keys: str
    """Prefix of the sets (one an hour) that hold its ended jobs; empty: the last start is the end."""

    @property
    def is_ours(self) -> bool:
        """Whether it is Orch."""
        return self.folder.name == "orch"

    @property
    def driver(self) -> Path:
        """The program that speaks the protocol."""
        script = self.folder / "driver.mjs"
        return script if script.exists() else self.folder / "driver.py"

    def versions(self) -> dict[str, str]:
        """What its lock pins of the packages that it asked for."""
        asked, lock = self.folder / "requirements.in", self.folder / "requirements.lock"
        package = self.folder / "package.json"
        if package.exists():
            pins: dict[str, str] = json.loads(package.read_text())["dependencies"]
            return pins
        if not lock.exists():
            return {}
        names = {re.split(r"[\[<>=!~ ]", line)[0].lower() for line in asked.read_text().split()}
        return {name: pin for name, pin in _PIN.findall(lock.read_text()) if name in names}


def all_peers(folder: Path = PEERS) -> list[Peer]:
    """Every variant of every folder; Orch first, then by name."""
    found = [peer for path in sorted(folder.glob("*/peer.toml")) for peer in _variants(path)]
    return sorted(found, key=lambda peer: (not peer.is_ours, peer.name))


def chosen(peers: Sequence[Peer], names: Sequence[str]) -> list[Peer]:
    """The peers of these names (a folder's name means all its variants).

    Raises:
        ValueError: a name that nobody has.
    """
    known = {peer.name for peer in peers} | {peer.folder.name for peer in peers}
    unknown = sorted(set(names) - known)
    if unknown:
        message = f"no peer {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        raise ValueError(message)
    return [peer for peer in peers if peer.name in names or peer.folder.name in names]


def _variants(path: Path) -> list[Peer]:
    document = tomllib.loads(path.read_text())
    return [
        Peer(
            name=name,
            folder=path.parent,
            settings=row["settings"],
            stores_result=row["stores_result"],
            has_stack=row.get("stack", False),
            quick=row.get("quick", False),
            ended_keys=row.get("ended_keys", ""),
        )
        for name, row in document.items()
    ]
