"""The images, built and run for real: who they are, what is not in them, how they live and end.

Minutes, a network and root: so this is for `make check` and for machines that have the programs (`tools.py`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from ruamel.yaml import YAML

from actors.start import ROLES
from contracts.errors import OrchError
from contracts.pools import Pool
from contracts.states import State
from orch import __version__
from orch.client import Endpoint, OrchSync
from orch.store.engine import find_engine
from tests.deploy.boxes import (
    BASE,
    ROOT,
    Box,
    base_image,
    box,
    build,
    checkout,
    children,
    cleared,
    config,
    layers,
    say,
    size_mb,
)
from tests.deploy.tools import where_expected
from tests.e2e.stack import wait_until
from tests.store.cluster import free_port, node

pytestmark = [pytest.mark.timeout(900), pytest.mark.first_answers]

ORCH: Final = "localhost/orch-test:orch"
AGENT: Final = "localhost/orch-test:agent"
MINE: Final = "localhost/orch-test:mine"
SERVED: Final = "localhost/orch-test:served"
AGAIN: Final = "localhost/orch-test:again"
OWN_MB_MAX: Final = 150
"""Of everything that is not the base: packages, our code, what Python compiled of them."""
EXAMPLES: Final = ROOT / "docker" / "examples"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """All images, built once; the base is kept for the next time, being nobody's."""
    where_expected("podman")
    base_image(tmp_path_factory.mktemp("base"))
    with cleared():
        context = checkout(tmp_path_factory.mktemp("one"), mode=0o644, at_s=1_700_000_000)
        build(context, AGENT, "--layers", "--target", "agent", file="docker/Dockerfile")
        build(context, ORCH, "--layers", file="docker/Dockerfile")
        build(EXAMPLES / "agent", MINE, f"--build-arg=BASE={AGENT}")
        build(EXAMPLES / "sidecar", SERVED)
        yield


@dataclass(frozen=True, slots=True)
class House:
    """A gateway in a container, on a server of its own."""

    redis_url: str
    client: OrchSync
    port: int


@pytest.fixture
def house(images: None, tmp_path: Path) -> Iterator[House]:
    """The least of a house that runs a job, but for a runner."""
    with ExitStack() as stack:
        server = stack.enter_context(node(find_engine(), tmp_path, "--appendonly", "yes"))
        url, port = f"redis://127.0.0.1:{server.port}", free_port()
        gateway = box(
            ORCH, ORCH_REDIS_URL=url, ORCH_HOST="127.0.0.1", ORCH_PORT=port, ORCH_METRICS_PORT=free_port()
        )  # fmt: skip
        opened = stack.enter_context(gateway)
        client = stack.enter_context(OrchSync(Endpoint(f"http://127.0.0.1:{port}")))
        wait_until(lambda: answers(client), what=opened.told())
        yield House(url, client, port)


def answers(client: OrchSync) -> bool:
    """Whether the gateway is ready."""
    try:
        client.ready()
    except OrchError:
        return False
    return True


@contextmanager
def runner(house: House, image: str = AGENT, **more: Any) -> Iterator[Box]:
    """A runner of that house, in a container, once its pool is known."""
    common: dict[str, Any] = {"ORCH_REDIS_URL": house.redis_url, "ORCH_METRICS_PORT": free_port()}
    with box(image, "runner", **common, **more) as one:
        pool = str(more.get("ORCH_POOL", "default"))
        wait_until(lambda: any(found.runners for found in known(house, pool)), what=one.told())
        yield one


def known(house: House, pool: str) -> list[Pool]:
    """The pool, once there is one."""
    return [one for one in house.client.pools().pools if one.pool == pool]


def output_of(house: House, job_id: str) -> str:
    """What a job wrote."""
    return "".join(line.text for line in house.client.logs(job_id).lines)


def command(*argv: str) -> dict[str, Any]:
    """A job that runs a program of the container."""
    return {"name": "x", "adapter": {"name": "command", "config": {"argv": [*argv], "cwd": "/tmp"}}}


def ended(one: Box) -> int:
    """The exit code, once it has ended."""
    wait_until(lambda: one.exit_code is not None, what=one.told())
    return int(one.exit_code or 0)


# ---------------------------------------------------------------- what it is


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize(("image", "words"), [(ORCH, ["gateway"]), (AGENT, ["runner"])])
def test_an_image_says_who_it_is_and_how_it_runs(
    images: None, image: str, words: list[str]
) -> None:
    told = config(image)
    assert told["User"] == "10001:10001"
    assert told["Entrypoint"][:2] == ["/usr/bin/tini", "--"]
    assert told["Cmd"] == words
    assert told["StopSignal"] == "SIGTERM"
    assert told["Healthcheck"]["Test"] == ["CMD", "/opt/orch/bin/healthy"]
    labels = {name.rpartition("image.")[2]: value for name, value in told["Labels"].items()}
    assert (labels["version"], labels["licenses"]) == (__version__, "Apache-2.0")
    assert labels["base.name"] == BASE


@pytest.mark.req("DEP-1")
def test_it_runs_as_a_number_on_a_read_only_root(images: None) -> None:
    script = """
        id -u; id -g; id -un
        touch /opt/orch/x /etc/x /usr/x 2>/dev/null || echo read-only
        touch /var/lib/orch/x /tmp/x && echo writable
        grep CapEff /proc/self/status
    """
    told = say(ORCH, "-c", script, entry="/bin/sh").split()
    assert told == ["10001", "10001", "orch", "read-only", "writable", "CapEff:", "0" * 16]


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize("image", [ORCH, AGENT, MINE])
def test_nothing_in_it_builds_or_installs(images: None, image: str) -> None:
    script = """
        for tool in pip pip3 gcc cc make git curl; do command -v $tool; done
        /opt/orch/bin/python -c 'import pip' 2>/dev/null && echo pip in the environment
        find /var/lib/apt/lists /var/cache/apt ~root/.cache /build -type f ! -name lock 2>/dev/null
        true
    """
    assert say(image, "-c", script, entry="/bin/bash").split() == []


@pytest.mark.req("DEP-1")
def test_every_role_and_the_command_line_are_in_it(images: None) -> None:
    told = say(ORCH, "--help")
    assert [role for role in ROLES if role not in told] == []
    assert "submit" in say(ORCH, "--help", entry="orch")
    assert say(ORCH, "version", entry="orch").strip().endswith(__version__)
    assert "Apache License" in say(ORCH, "/opt/orch/LICENSE", entry="cat")


@pytest.mark.req("DEP-1")
def test_what_python_compiled_is_used(images: None) -> None:
    script = "import os, orch.ports as ports; print(os.path.exists(ports.__cached__))"
    assert say(ORCH, "-c", script, entry="/opt/orch/bin/python").split() == ["True"]
    count = "find /opt/orch/lib -name '*.pyc' | wc -l; find /opt/orch/lib -name '*.py' | wc -l"
    compiled, sources = map(int, say(ORCH, "-c", count, entry="/bin/sh").split())
    assert compiled > 0.9 * sources


@pytest.mark.req("DEP-1")
def test_it_is_small(images: None, capsys: pytest.CaptureFixture[str]) -> None:
    base, whole = size_mb(BASE), size_mb(ORCH)
    with capsys.disabled():
        sys.stdout.write(f"\nimage: {whole:.0f} MB, {whole - base:.0f} MB of them ours\n")
    assert whole - base < OWN_MB_MAX


@pytest.mark.req("DEP-1", "REL-1")
def test_two_builds_of_different_checkouts_have_the_same_layers(
    images: None, tmp_path: Path
) -> None:
    context = checkout(tmp_path / "two", mode=0o600, at_s=1_000_000_000)
    build(context, AGAIN, "--layers", "--no-cache", file="docker/Dockerfile")
    assert layers(AGAIN) == layers(ORCH)
    # buildah writes the name of the container that it built in, when the format is Docker's.
    assert {**config(AGAIN), "Hostname": ""} == {**config(ORCH), "Hostname": ""}


# ---------------------------------------------------------------- how it lives


@pytest.mark.req("DEP-1")
def test_process_1_takes_in_the_dead_that_nobody_waits_for(images: None) -> None:
    # The inner shell ends at once: its child is an orphan then, and ends two seconds later.
    words = ("--", "sh", "-c", "sh -c 'sleep 2 &'; exec sleep 600")
    with box(AGENT, *words, entry="/usr/bin/tini") as one:
        pid = one.pid
        wait_until(lambda: len(children(pid)) == 2, what="the orphan is there")
        wait_until(lambda: len(children(pid)) == 1, what=f"it was taken in: {children(pid)}")
        assert "Z" not in children(pid).values()
        one.terminate()
        assert ended(one) == 143, "the signal reached the program"


@pytest.mark.req("DEP-1", "RUN-6")
def test_a_runner_does_a_job_leaves_no_zombie_and_ends_well_on_sigterm(house: House) -> None:
    with runner(house, ORCH_GRACE_MS=1_000) as one:
        pid = one.pid
        # It leaves somebody behind, as careless agents do.
        job = house.client.submit(command("sh", "-c", "(sleep 1 &) ; id -u"))
        assert house.client.wait(job.job_id, timeout_s=60).state is State.COMPLETED, one.told()
        assert "10001" in output_of(house, job.job_id)
        wait_until(lambda: "Z" not in children(pid).values(), what=str(children(pid)))
        assert one.inside("/opt/orch/bin/healthy") == 0
        long = house.client.submit(command("sleep", "600"))
        wait_until(lambda: house.client.job(long.job_id).state is State.RUNNING)
        one.terminate()
        assert ended(one) == 0, one.told()
        left = house.client.job(long.job_id)
        assert left.state in {State.QUEUED, State.READY}, "handed back, not left to its lease"
        assert left.lease is None


@pytest.mark.req("DEP-1")
def test_a_gateway_in_a_container_answers_the_command_line_in_another(house: House) -> None:
    with runner(house):
        job = house.client.submit(command("true"))
        house.client.wait(job.job_id, timeout_s=60)
        url = f"http://127.0.0.1:{house.port}"
        told = json.loads(
            say(ORCH, "status", job.job_id, "--json", entry="orch", network="host", ORCH_URL=url)
        )
    assert told["state"] == "completed"


@pytest.mark.req("DEP-1")
def test_a_process_that_does_not_answer_is_unhealthy(images: None) -> None:
    with box(
        AGENT, "--", "sleep", "600", entry="/usr/bin/tini", ORCH_METRICS_PORT=free_port()
    ) as one:
        assert one.inside("/opt/orch/bin/healthy") == 1


@pytest.mark.req("DEP-1")
def test_a_whole_stack_runs_in_one_container_for_a_look(images: None) -> None:
    # Its parts share a network: each takes any free port for its metrics.
    with box(ORCH, "up", ORCH_METRICS_PORT=0) as one:
        wait_until(lambda: "stack_up" in one.told(), what=one.told())
        assert one.inside("orch", "doctor") == 0
        one.terminate()
        assert ended(one) == 0


# ---------------------------------------------------------------- with agents


@pytest.mark.req("DEP-1")
def test_an_image_that_brings_an_agent_runs_it(house: House) -> None:
    spec = YAML(typ="safe").load((EXAMPLES / "agent" / "job.yaml").read_text())
    with runner(house, MINE) as one:
        job = house.client.submit(spec)
        assert house.client.wait(job.job_id, timeout_s=60).state is State.COMPLETED, one.told()
    (report,) = house.client.artifacts(job.job_id).artifacts
    assert report.name == "report.json"
    assert "attempt 1: 6 words" in output_of(house, job.job_id)


@pytest.mark.req("DEP-1")
def test_a_runner_beside_an_agent_sends_it_the_jobs_of_its_pool(house: House) -> None:
    spec = YAML(typ="safe").load((EXAMPLES / "sidecar" / "job.yaml").read_text())
    port = free_port()
    config_ = spec["adapter"]["config"]
    config_["url"] = config_["url"].replace(":8700/", f":{port}/")
    with (
        box(SERVED, str(port)) as agent,
        runner(house, ORCH_POOL="beside", ORCH_HTTP_HOSTS_ALLOWED="127.0.0.1") as one,
    ):
        job = house.client.submit(spec)
        done = house.client.wait(job.job_id, timeout_s=60)
        assert done.state is State.COMPLETED, one.told() + agent.told()
        assert done.result is not None
        assert "HELLO FROM A JOB" in json.dumps(done.result)
        # A process 1 of Python hears SIGTERM only when it says so.
        one.terminate()
        assert ended(one) == 0
        agent.terminate()
        assert ended(agent) == 0
