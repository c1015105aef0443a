"""An actor from the nursery is what `python -m actors` is: own session, own folder, own exit code."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orch.store.keys import Keys
from tests.chaos.house import TREE
from tests.chaos.nursery import PACKET_BYTES_MAX
from tests.e2e.stack import connect, wait_until

PATIENCE_S = 30


class Nursery:
    """One nursery, driven by hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(PATIENCE_S)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.chaos.nursery", str(theirs.fileno())],
            env={**os.environ, "PYTHONPATH": str(TREE)}, pass_fds=[theirs.fileno()],
        )  # fmt: skip
        theirs.close()
        assert self.control.recv(PACKET_BYTES_MAX) == b"{}"

    def bear(self, *words: str, ready: int) -> int:
        """Orders one child; its pid."""
        order = {
            "number": 7, "argv": words, "env": {"PATH": os.environ["PATH"], "HOME": str(self.root)},
            "cwd": str(self.root), "log": str(self.root / "log"), "ready": True, "lifeline": False,
        }  # fmt: skip
        socket.send_fds(self.control, [json.dumps(order).encode()], [ready])
        news = self.hear()
        assert news["number"] == 7
        return int(news["pid"])

    def hear(self) -> dict[str, Any]:
        """The next thing it tells."""
        news: dict[str, Any] = json.loads(self.control.recv(PACKET_BYTES_MAX))
        return news

    def end(self) -> None:
        """Nobody wants more children."""
        self.control.close()
        self.process.wait(PATIENCE_S)


@contextmanager
def a_nursery(root: Path) -> Iterator[Nursery]:
    nursery = Nursery(root)
    try:
        yield nursery
    finally:
        nursery.end()


def a_child(nursery: Nursery, url: str) -> int:
    """A reaper that has announced itself."""
    read, write = os.pipe()
    pid = nursery.bear("reaper", "--home", str(nursery.root), "--redis-url", url, ready=write)
    os.close(write)
    assert select.select([read], [], [], PATIENCE_S)[0]
    assert json.loads(os.read(read, 4096))["metrics_port"] > 0
    os.close(read)
    with connect(url) as client:
        wait_until(
            lambda: any(json.loads(one).get("pid") == pid for one in client.hvals(Keys().instances))
        )
    return pid


def test_a_child_has_a_session_a_folder_and_an_environment_of_its_own(
    tmp_path: Path, server_url: str
) -> None:
    with a_nursery(tmp_path) as nursery:
        pid = a_child(nursery, server_url)
        assert os.getsid(pid) == pid
        assert Path(f"/proc/{pid}/cwd").readlink() == tmp_path
        assert not os.path.samefile(f"/proc/{pid}/fd/1", f"/proc/{os.getpid()}/fd/1")
        os.kill(pid, 15)
        assert nursery.hear() == {"pid": pid, "status": 0}


def test_a_killed_child_is_told_with_its_signal(tmp_path: Path, server_url: str) -> None:
    with a_nursery(tmp_path) as nursery:
        pid = a_child(nursery, server_url)
        os.kill(pid, 9)
        assert nursery.hear() == {"pid": pid, "status": -9}


def test_a_refused_command_line_ends_with_the_code_of_the_error(tmp_path: Path) -> None:
    with a_nursery(tmp_path) as nursery:
        read, write = os.pipe()
        pid = nursery.bear("reaper", "--redis-url", "no url", ready=write)
        os.close(write)
        assert nursery.hear() == {"pid": pid, "status": 6}
        os.close(read)


def test_no_child_outlives_its_nursery(tmp_path: Path, server_url: str) -> None:
    with a_nursery(tmp_path) as nursery:
        pidfd = os.pidfd_open(a_child(nursery, server_url))
    try:
        assert select.select([pidfd], [], [], PATIENCE_S)[0]
    finally:
        os.close(pidfd)
