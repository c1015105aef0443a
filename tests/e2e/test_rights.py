"""Each role under its own user of ops/redis/users.acl: a whole stack works, and nobody is denied anything."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from actors.start import ROLES
from contracts.states import State
from orch.client import Endpoint, OrchSync
from orch.store.engine import engines
from orch.store.keys import Keys
from tests.e2e.specs import call, shell, step, steps
from tests.e2e.stack import DEADLINE_S, Stack, a_stack, connect, wait_until, watched
from tests.e2e.test_dashboards import (
    be_refused_for_load,
    fire_a_schedule,
    lose_a_runner,
    tell_a_webhook,
)
from tests.e2e.test_metrics import SLOTS, Load, do_everything, fill_the_line
from tests.store.cluster import Node, free_port, node
from tests.store.engines import must_be_here, why_absent

pytestmark = pytest.mark.timeout(180)
USERS: Final = Path(__file__).parents[2] / "ops" / "redis" / "users.acl"
SETTINGS: Final = {"slots": SLOTS, "lease_ms": 2_000, "webhook_hosts_allowed": "127.0.0.0/8"}


class Separated(Stack):
    """No supervisor: each role a process of its own, as containers are."""

    def __init__(self, root: Path, server: Node) -> None:
        super().__init__(root, SETTINGS)
        self._server = server
        self._parts: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Starts each role as its user."""
        self.home.mkdir()
        words = [word for k, v in self._settings.items() for word in ("--set", f"{k}={v}")]
        port, metrics = free_port(), {}
        url = f"http://127.0.0.1:{port}"
        for role in ROLES:
            name = "runner-default-1" if role == "runner" else f"{role}-1"
            own = free_port()
            metrics[name] = f"http://127.0.0.1:{own}/metrics"
            more = {"gateway": ("--port", str(port)), "runner": ("--url", url)}.get(role, ())
            server = f"redis://orch-{role}:change-me@127.0.0.1:{self._server.port}"
            self._parts.append(
                self._spawn(
                    role, "--redis-url", server, "--home", str(self.home), "--metrics-port",
                    str(own), *more, *words,
                )
            )  # fmt: skip
        admin = f"redis://127.0.0.1:{self._server.port}"
        document = {"url": url, "pid": os.getpid(), "redis_url": admin, "metrics": metrics}
        (self.home / "endpoint.json").write_text(json.dumps(document))
        self.client = self._open.enter_context(OrchSync(Endpoint(url)))
        self.redis = self._open.enter_context(connect(admin))
        wait_until(self._is_serving, what=f"all parts serve; {self.log}")

    def end(self) -> None:
        """Asks all to leave."""
        self.found += self.faults()
        for part in self._parts:
            part.terminate()
        for part in self._parts:
            part.wait(DEADLINE_S)
        self._open.close()
        wait_until(lambda: not self.processes(), what=f"no process is left: {self.processes()}")

    def destroy(self) -> None:
        """SIGKILL to whatever is left."""
        super().destroy()
        for part in self._parts:
            part.kill()
            part.wait(DEADLINE_S)


def server_with_users(name: str, home: Path) -> Any:
    """A real server that has loaded the shipped file."""
    if reason := why_absent(name):
        assert not must_be_here(), reason
        pytest.skip(reason)
    program = next(engine for engine in engines() if engine.name == name)
    words = ("--aclfile", str(USERS), "--appendonly", "yes", "--appendfsync", "no")
    return node(program, home, *words)


@pytest.fixture(params=["valkey", "redis"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    with server_with_users(request.param, tmp_path / "server") as started:
        yield started


@pytest.fixture
def separated(server: Node, tmp_path: Path) -> Iterator[Separated]:
    root = tmp_path / "stack"
    root.mkdir()
    with watched(Separated(root, server)) as stack:
        yield stack


def steer(stack: Stack) -> None:
    """What people do with single jobs."""
    asks = {"text": "go on?", "kind": "approve"}
    spec = steps(step("one", "true"), step("two", "true", decision=asks))
    job_id = stack.client.submit({**spec, "session": "talk", "concurrency_key": "k"}).job_id
    stack.wait_for_state(job_id, State.BLOCKED)
    question = stack.client.job(job_id).question
    assert question is not None
    stack.client.explain(job_id)
    stack.client.sessions()
    stack.client.session("talk")
    stack.client.answer(job_id, question.question_id, "approve")
    assert stack.client.wait(job_id, timeout_s=DEADLINE_S).state is State.COMPLETED
    long = stack.client.submit(steps(step("a", "sleep 1"), step("b", "true"))).job_id
    stack.wait_for_state(long, State.RUNNING)
    stack.client.pause(long)
    stack.wait_for_state(long, State.PAUSED)
    stack.client.resume(long)
    assert stack.client.wait(long, timeout_s=DEADLINE_S).state is State.COMPLETED
    endless = stack.client.submit(shell("echo up; exec sleep 600")).job_id
    stack.wait_for_output(endless)
    stack.client.cancel(endless)
    assert stack.client.wait(endless, timeout_s=DEADLINE_S).state is State.CANCELED


def look(stack: Stack) -> None:
    """Whatever can be read."""
    client = stack.client
    jobs = client.jobs()
    for job in jobs.jobs[:5]:
        client.ledger(job.job_id)
        client.logs(job.job_id)
        client.artifacts(job.job_id)
        client.explain(job.job_id)
    client.pools()
    client.pool_health("default")
    client.replica_sets()
    client.scale("default")
    client.commands()
    client.schedules()
    letters = client.dead_letters().dead_letters
    assert letters
    client.replay([letters[0].job_id])


def keep_a_schedule(stack: Stack) -> None:
    fire_a_schedule(stack)
    client = stack.client
    client.pause_schedule("in-time")
    client.resume_schedule("in-time")
    client.fire_schedule("in-time")
    client.delete_schedule("in-time")


def produce(stack: Stack, port: int) -> None:
    """A program that knows nothing but the stream."""
    with redis.Redis(
        port=port, username="orch-producer", password="change-me", decode_responses=True,
        protocol=2, retry=Retry(NoBackoff(), 0), driver_info=None,
    ) as producer:  # fmt: skip
        spec = json.dumps(call("echo", 4))
        producer.xadd(Keys().requests, {"v": "1", "request_id": "mine", "spec": spec})
        answer: Any = wait_until(lambda: producer.get(Keys().answer("mine")), what="an answer")
    job_id = json.loads(answer)["job_id"]
    assert stack.client.wait(job_id, timeout_s=DEADLINE_S).state is State.COMPLETED


@pytest.mark.req("DEP-2", "SEC-3")
def test_every_role_does_all_its_work_under_its_own_user_and_the_acl_log_stays_empty(
    separated: Separated, server: Node
) -> None:
    stack, root = separated, separated.root
    load = Load(stack)
    do_everything(load)
    fill_the_line(load, root / "go")
    be_refused_for_load(stack)
    tell_a_webhook(stack)
    keep_a_schedule(stack)
    steer(stack)
    look(stack)
    produce(stack, server.port)
    lose_a_runner(stack, root / "again")
    logged_in = {line.split("user=")[1].split()[0] for line in clients_of(server)}
    assert {f"orch-{role}" for role in ROLES} <= logged_in
    assert server.say("ACL", "LOG") == []


def clients_of(server: Node) -> list[str]:
    with server.client as admin:
        return [f"user={one['user']}" for one in admin.client_list()]


@pytest.mark.req("DEP-2", "SEC-3")
def test_a_supervised_stack_lives_with_one_user_and_the_acl_log_stays_empty(
    server: Node, tmp_path: Path
) -> None:
    root = tmp_path / "supervised"
    root.mkdir()
    here = f"127.0.0.1:{server.port}"
    url = f"redis://orch-actors:change-me@{here}"
    with connect(f"redis://{here}") as admin, a_stack(root, redis_url=url, **SETTINGS) as stack:
        stack.redis = admin  # what looks for faults in the end is no part of Orch
        assert stack.run(shell("true")).state is State.COMPLETED
        steer(stack)
        killed = stack.kill("runner")
        wait_until(lambda: set(stack.pids("runner")) - {killed}, what="another runner")
        assert stack.run(shell("true")).state is State.COMPLETED
        made = stack.orch("token", "create", "--name", "ci", "--scope", "read")
        assert made.code == 0, made.err
        assert server.say("ACL", "LOG") == []
        assert stack.orch("doctor").code == 0
        assert server.say("ACL", "LOG") == []
