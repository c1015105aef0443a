"""Images built by buildah and run by podman, as root, without a daemon and without a registry.

The base image has the name of the real one. Where it is not here already (`podman pull`, where a registry can
be reached), mmdebstrap makes one of Debian's own Python that stands in: everything of ours is the same, the
interpreter is Debian's. The build fetches packages as this machine does: pip's and apt's ways are lent to it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.deploy.tools import absent, program, where_expected

ROOT: Final = Path(__file__).resolve().parents[2]
BASE: Final = "docker.io/library/python:3.11-slim-bookworm"
_STAND_IN: Final = "python3,python3-venv,python-is-python3,ca-certificates"
_PIP: Final = """#!/bin/sh
for wheel in /usr/share/python-wheels/pip-*.whl; do exec python3 "$wheel/pip" "$@"; done
"""
"""Debian's Python brings pip as a wheel only; the real base has the command, in the same place."""
_LENT: Final = ("/etc/pip.conf", "/etc/ssl/certs", "/etc/apt/apt.conf.d", "/etc/apt/sources.list.d")
_SOURCES: Final = (
    "LICENSE",
    "requirements.lock",
    ".dockerignore",
    "contracts",
    "orch",
    "actors",
    "docker",
)
_RUN: Final = ("--runtime", "runc", "--cgroup-manager=cgroupfs")
_LOCKED: Final = (
    "--pull=never", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--no-healthcheck",
    "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024",
)  # fmt: skip
BUILD_S: Final = 600
CALL_S: Final = 60


def run(*words: str, timeout_s: int = CALL_S, **more: Any) -> str:
    """What a program says; its whole complaint when it fails."""
    said = subprocess.run(
        words, capture_output=True, text=True, timeout=timeout_s, check=False, **more
    )
    assert said.returncode == 0, (
        f"{' '.join(words)}\n{said.stdout[-4_000:]}\n{said.stderr[-4_000:]}"
    )
    return said.stdout


def base_image(folder: Path) -> bool:
    """Sees to it that the base image is here; whether it is the real one."""
    buildah = where_expected("buildah")
    if os.geteuid() != 0:
        absent("buildah", "images are built as root here")
    known = subprocess.run(
        [buildah, "inspect", "--type", "image", BASE], capture_output=True, check=False
    )
    if known.returncode == 0:
        return b"orch-stand-in" not in known.stdout
    archive = folder / "base.tar"
    mirror = [
        str(path) for path in (Path("/etc/apt/sources.list.d/debian.sources"),) if path.exists()
    ]
    words = (f"--include={_STAND_IN}", "bookworm", str(archive), *mirror)
    run(program("mmdebstrap"), "--variant=minbase", *words, timeout_s=BUILD_S)
    made = run(buildah, "from", "scratch").strip()
    run(buildah, "add", "--quiet", made, str(archive), "/", timeout_s=BUILD_S)
    (pip := folder / "pip").write_text(_PIP)
    pip.chmod(0o755)
    run(buildah, "add", "--quiet", made, str(pip), "/usr/local/bin/pip")
    run(
        buildah,
        "config",
        "--label",
        "orch-stand-in=1",
        "--env",
        "PATH=/usr/local/bin:/usr/bin:/bin",
        made,
    )
    run(buildah, "commit", "--quiet", "--rm", made, BASE, timeout_s=BUILD_S)
    return False


def checkout(folder: Path, *, mode: int, at_s: int) -> Path:
    """What a build needs, as another checkout has it: other modes and times."""
    for name in _SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / name)
    for path in folder.rglob("*"):
        path.chmod(mode | 0o111 if path.is_dir() else mode)
        os.utime(path, (at_s, at_s))
    return folder


def build(context: Path, tag: str, *words: str, file: str = "Dockerfile") -> None:
    """Builds an image with every time set to 0."""
    lent = [word for path in _LENT if Path(path).exists() for word in ("-v", f"{path}:{path}:ro")]
    given = ("--pull=never", "--network=host", "--format=docker", "--timestamp=0", "-t", tag)
    env = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
    buildah = program("buildah")
    run(
        buildah,
        "bud",
        *given,
        *lent,
        *words,
        "-f",
        str(context / file),
        str(context),
        timeout_s=BUILD_S,
        env=env,
    )


@contextmanager
def cleared() -> Iterator[None]:
    """Images that come up meanwhile are gone at the end, also those of a build's steps; the base stays."""
    buildah = program("buildah")
    before = _images(buildah)
    try:
        yield
    finally:
        while left := _images(buildah) - before:
            for image in left:  # one that others are built on has to wait for them
                subprocess.run([buildah, "rmi", "--force", image], capture_output=True, check=False)
            assert _images(buildah) - before != left, "no image could be removed"


def _images(buildah: str) -> set[str]:
    return set(run(buildah, "images", "--all", "--quiet", "--no-trunc").split())


def inspect(tag: str) -> dict[str, Any]:
    """What buildah knows of an image."""
    found: dict[str, Any] = json.loads(run(program("buildah"), "inspect", "--type", "image", tag))
    return found


def layers(tag: str) -> list[str]:
    """The digests of an image's layers, unpacked, from the base up."""
    found: list[str] = inspect(tag)["OCIv1"]["rootfs"]["diff_ids"]
    return found


def config(tag: str) -> dict[str, Any]:
    """What an image says of how it is run."""
    found: dict[str, Any] = inspect(tag)["Docker"]["config"]
    return found


def size_mb(tag: str) -> float:
    """Megabytes of an image, unpacked."""
    (found,) = json.loads(run(program("podman"), "image", "inspect", tag))
    return float(found["Size"]) / 1e6


def say(
    image: str, *words: str, entry: str | None = None, network: str = "none", **env: object
) -> str:
    """What a container says that runs to its end."""
    given = [*_LOCKED, f"--network={network}", *_given(entry, env)]
    return run(program("podman"), *_RUN, "run", "--rm", *given, image, *words)


def _given(entry: str | None, env: Mapping[str, object]) -> list[str]:
    told = [f"--env={name}={value}" for name, value in env.items()]
    return [*([f"--entrypoint={entry}"] if entry else []), *told]


@dataclass(frozen=True, slots=True)
class Box:
    """A container that runs."""

    name: str
    _words: tuple[str, ...] = field(default_factory=lambda: (program("podman"), *_RUN))

    @property
    def pid(self) -> int:
        """Its process 1, as this machine numbers it."""
        return int(run(*self._words, "inspect", "--format", "{{.State.Pid}}", self.name))

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        told = run(
            *self._words, "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", self.name
        )
        status, code = told.split()
        return int(code) if status in {"exited", "stopped"} else None

    def terminate(self) -> None:
        """SIGTERM to its process 1."""
        run(*self._words, "kill", "--signal", "TERM", self.name)

    def inside(self, *words: str) -> int:
        """The exit code of a program in it."""
        return subprocess.run(
            [*self._words, "exec", self.name, *words],
            capture_output=True,
            timeout=CALL_S,
            check=False,
        ).returncode

    def told(self) -> str:
        """What it wrote."""
        both = subprocess.run(
            [*self._words, "logs", self.name],
            capture_output=True,
            text=True,
            timeout=CALL_S,
            check=False,
        )
        return both.stdout + both.stderr


@contextmanager
def box(image: str, *words: str, entry: str | None = None, **env: object) -> Iterator[Box]:
    """A container on this machine's own network, removed at the end."""
    given = [*_LOCKED, "--network=host", *_given(entry, env)]
    name = run(program("podman"), *_RUN, "run", "--detach", *given, image, *words).strip()
    try:
        yield Box(name)
    finally:
        # One that was killed a moment ago may refuse the first time.
        removal = [program("podman"), *_RUN, "rm", "--force", "--time=1", "--volumes", name]
        ended = (
            subprocess.run(removal, capture_output=True, timeout=CALL_S, check=False)
            for _ in range(3)
        )
        assert any(one.returncode == 0 for one in ended), f"{name} could not be removed"


def children(pid: int) -> dict[int, str]:
    """Processes below one, with the letter of what they do; Z is a zombie."""
    parents: dict[int, list[tuple[int, str]]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                told = (entry / "stat").read_text().rpartition(")")[2].split()
                parents.setdefault(int(told[1]), []).append((int(entry.name), told[0]))
    found: dict[int, str] = {}
    ahead = [pid]
    while ahead:
        below = parents.get(ahead.pop(), [])
        found |= dict(below)
        ahead += [child for child, _ in below]
    return found
