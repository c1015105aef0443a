"""Makes `.venv` from requirements-dev.lock with nothing but python3 and pip, once.

Debian splits ensurepip out and refuses plain `pip install` (PEP 668), so the environment is made
without pip and filled from outside. The stamp inside it is written last: an interrupted install, a
changed lock, a moved checkout or another interpreter has no matching stamp and starts afresh. A file
lock makes a second `make` in the same checkout wait instead of installing into the same place.
Runs on the system's python3, before anything is installed: standard library only.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements-dev.lock"
STAMP = VENV / "orch-stamp"
PYTHON_MIN = (3, 11)
PIP_MIN = (22, 3)
"""The first pip with `--python`."""

LAUNCHER = """#!/bin/sh
'''exec' {python} "$0" "$@"
' '''
import sys

from orch.cli.main import main

sys.exit(main())
"""
"""A shell line and a Python program in one, as pip writes it: a path with spaces survives."""


def fail(sentence: str) -> None:
    """End with one sentence and the status make uses for a broken recipe."""
    sys.stderr.write(f"orch: {sentence}\n")
    sys.exit(2)


def wanted_stamp() -> str:
    """What the environment was made from; any difference means a new one."""
    interpreter = f"{sys.version} {os.path.realpath(sys.executable)}"
    parts = [LOCK.read_bytes(), LAUNCHER.encode(), os.fsencode(ROOT), interpreter.encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def is_ready() -> bool:
    """Whether the environment is complete and current."""
    try:
        return STAMP.read_text() == wanted_stamp() and (VENV / "bin" / "python").exists()
    except OSError:
        return False


def check_machine() -> None:
    """Say in one sentence what is missing, before anything is touched."""
    if sys.version_info < PYTHON_MIN:
        fail(f"needs Python 3.11 or newer, python3 is {sys.version.split()[0]}; set PYTHON=…")
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "--version"], capture_output=True, text=True, check=False
    )
    if asked.returncode != 0:
        fail("python3 has no pip; install it (Debian: apt-get install python3-pip)")
    found = tuple(int(part) for part in asked.stdout.split()[1].split(".")[:2])
    if found < PIP_MIN:
        fail(f"needs pip 22.3 or newer, found {asked.stdout.split()[1]}")


def install(lock: int) -> None:
    """Make the environment under the lock, which children hold too.

    Else: we are killed, pip lives on and fills the environment that the next make has just emptied.
    """
    shutil.rmtree(VENV, ignore_errors=True)
    venv = [sys.executable, "-m", "venv", "--without-pip", str(VENV)]
    subprocess.run(venv, check=True, pass_fds=(lock,))
    python = VENV / "bin" / "python"
    # Settings that would send packages elsewhere than into the environment; sources stay as they are.
    elsewhere = {"PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_REQUIRE_VIRTUALENV"}
    env = {key: value for key, value in os.environ.items() if key not in elsewhere}
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "install", "-qq", "--no-input", "--require-hashes", "--no-deps", "-r", str(LOCK)],
        check=True,
        env=env,
        pass_fds=(lock,),
    )
    link_checkout(python)
    partial = STAMP.with_suffix(".partial")
    partial.write_text(wanted_stamp())
    partial.replace(STAMP)


def link_checkout(python: Path) -> None:
    """Make the checkout importable and `orch` a command, as an editable install would."""
    paths = sysconfig.get_paths("venv", vars={"base": str(VENV), "platbase": str(VENV)})
    (Path(paths["purelib"]) / "orch-checkout.pth").write_text(f"{ROOT}\n")
    launcher = VENV / "bin" / "orch"
    launcher.write_text(LAUNCHER.format(python=shlex.quote(str(python))))
    launcher.chmod(0o755)


def main(arguments: list[str]) -> None:
    """`bootstrap.py` makes the environment if need be; `bootstrap.py --remove` takes it away."""
    if "--remove" not in arguments and is_ready():
        return
    check_machine()
    with (ROOT / ".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if "--remove" in arguments:
            shutil.rmtree(VENV, ignore_errors=True)
        elif not is_ready():
            sys.stderr.write("orch: making .venv from requirements-dev.lock (once)\n")
            try:
                install(lock.fileno())
            except subprocess.CalledProcessError as error:
                fail(f"could not make .venv: {shlex.join(error.cmd[:6])} … said {error.returncode}")


if __name__ == "__main__":
    main(sys.argv[1:])
