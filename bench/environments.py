"""The environment of a peer: its locked packages, made once under build/bench/env and reused.

Peers pin what conflicts (redis-py 5, 6, 7, 8), so each has its own. The stamp is written last: an
interrupted install or a changed lock starts afresh.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from bench.roster import Peer

ROOT: Final = Path(__file__).resolve().parent.parent
ENVIRONMENTS: Final = ROOT / "build" / "bench" / "env"
_ELSEWHERE: Final = {
    "PIP_USER",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_REQUIRE_VIRTUALENV",
    "PYTHONPATH",
}
"""Settings that would send packages elsewhere than into the environment."""


class Missing(Exception):
    """This peer cannot run here; the message says why, and stands in its row."""


def program(peer: Peer) -> list[str]:
    """The words that start the peer's driver, its environment made if need be.

    Raises:
        Missing: node is not installed, or the packages cannot be had.
    """
    if peer.driver.suffix == ".mjs":
        return [_node(), str(_node_driver(peer))]
    if not (peer.folder / "requirements.lock").exists():
        return [sys.executable, str(peer.driver)]
    return [str(_python(peer)), str(peer.driver)]


def _python(peer: Peer) -> Path:
    lock = peer.folder / "requirements.lock"
    place = ENVIRONMENTS / peer.folder.name
    python = place / "bin" / "python"
    stamp = _stamp(lock, sys.version)
    if _is_made(place, stamp):
        return python
    _tell(peer)
    shutil.rmtree(place, ignore_errors=True)
    # The interpreter below our own environment: it has pip, the environments have none.
    below = str(Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}"))
    _run([below, "-m", "venv", "--without-pip", str(place)])
    pip = [below, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "install"]
    _run([*pip, "-qq", "--no-input", "--require-hashes", "--no-deps", "-r", str(lock)])
    (place / "bench-stamp").write_text(stamp)
    return python


def _node() -> str:
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        message = "node and npm are not installed"
        raise Missing(message)
    return node


def _node_driver(peer: Peer) -> Path:
    lock = peer.folder / "package-lock.json"
    place = ENVIRONMENTS / peer.folder.name
    stamp = _stamp(lock, peer.driver.read_text())
    if not _is_made(place, stamp):
        _tell(peer)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        for name in ("package.json", "package-lock.json", "driver.mjs"):
            shutil.copy(peer.folder / name, place)
        # Not `npm ci`: it refuses a lock without the optional binaries of other platforms.
        words = ["npm", "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"]
        _run(words, cwd=place)
        (place / "bench-stamp").write_text(stamp)
    return place / "driver.mjs"


def _stamp(lock: Path, more: str) -> str:
    return hashlib.sha256(lock.read_bytes() + more.encode()).hexdigest()


def _is_made(place: Path, stamp: str) -> bool:
    try:
        return (place / "bench-stamp").read_text() == stamp
    except OSError:
        return False


def _tell(peer: Peer) -> None:
    sys.stderr.write(f"bench: making the environment of {peer.folder.name} (once)\n")


def _run(words: list[str], *, cwd: Path | None = None) -> None:
    env = {key: value for key, value in os.environ.items() if key not in _ELSEWHERE}
    ended = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        message = f"its packages could not be installed: {ended.stderr.strip()[-300:]}"
        raise Missing(message)
