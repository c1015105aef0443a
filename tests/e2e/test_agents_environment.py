"""Which variables of the operator reach an agent and its guard: a short list, whatever else was set where the
stack was started. By real processes, read from /proc as they were started."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any, Final

import pytest

from contracts.states import State
from tests.e2e.specs import AGENTS, call, command, step, steps
from tests.e2e.stack import Stack, a_stack
from tests.e2e.test_tokens import with_password
from tests.store.engines import real_servers

SECRET: Final = "c4n4ry-0f-the-h0use"
OPERATOR: Final = {
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "OPENAI_API_KEY": SECRET,
    "MODEL_KEY": SECRET,
    "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={SECRET}",
    "OTEL_SDK_DISABLED": "true",
    "ORCH_TEST_SECRET": SECRET,
    "HTTPS_PROXY": f"http://{SECRET}@127.0.0.1:9",
    "SSH_AUTH_SOCK": f"/{SECRET}",
    "PYTHONWARNINGS": "default",
    "XDG_RUNTIME_DIR": f"/{SECRET}",
    "GIT_CONFIG_COUNT": "0",
}
HOST: Final = {"PATH", "HOME", "LANG"}
JOB: Final = HOST | {
    "ORCH_JOB_ID", "ORCH_ATTEMPT", "ORCH_FENCE", "ORCH_CLAIM", "ORCH_ARTIFACT_DIR", "ORCH_URL", "ORCH_TOKEN",
}  # fmt: skip
LOOK: Final = "import json, work; print(json.dumps(work.environments()))"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with (
        real_servers(tmp_path_factory.mktemp("server")) as servers,
        pytest.MonkeyPatch.context() as environment,
    ):
        for name, value in {**OPERATOR, "LANG": "C.UTF-8"}.items():
            environment.setenv(name, value)
        url = with_password(servers.url("valkey"), SECRET)
        root = tmp_path_factory.mktemp("stack")
        with a_stack(root, redis_url=url, http_env_allowed="MODEL_KEY") as running:
            yield running


def looked(stack: Stack, spec: dict[str, Any]) -> list[dict[str, str]]:
    """The environments of an agent and of its guard."""
    record = stack.run(spec)
    assert record.state is State.COMPLETED, stack.client.logs(record.job_id)
    if record.result is not None and isinstance(record.result, list):
        return list(record.result)
    (line,) = stack.client.logs(record.job_id).lines
    return list(json.loads(line.text))


SPECS: Final = {
    "command": (command(sys.executable, "-c", LOOK, config={"cwd": AGENTS}), JOB),
    "steps": (
        steps({**step("look", ""), "argv": [sys.executable, "-c", LOOK]}, config={"cwd": AGENTS}),
        JOB | {"ORCH_STEP_ID", "ORCH_STEP_KEY"},
    ),
    "python": (call("environments"), HOST | {"ORCH_WORKER"}),
}
"""Adapter -> a job that looks, and the names that it may see. A worker gets those of its call later."""


@pytest.mark.req("SIM-5", "SEC-2", "LSE-5")
@pytest.mark.parametrize("adapter", SPECS)
def test_an_agent_gets_what_is_promised_and_nothing_of_the_operator(
    stack: Stack, adapter: str
) -> None:
    spec, names = SPECS[adapter]
    agent, guard = looked(stack, spec)
    assert set(agent) == names
    assert set(guard) <= {"LD_LIBRARY_PATH", "ORCH_GUARD"}
    told = " ".join([*agent.values(), *guard.values()])
    assert SECRET not in told
    assert "redis" not in told, "an agent never learns where the data are"


def test_the_operators_variables_did_reach_the_actors(stack: Stack) -> None:
    with open(f"/proc/{stack.pid('runner')}/environ", "rb") as file:
        fields = dict(field.split(b"=", 1) for field in file.read().split(b"\0")[:-1])
    assert {name.encode() for name in OPERATOR if not name.startswith("ORCH_")} <= set(fields)
    assert SECRET.encode() in fields[b"ORCH_REDIS_URL"], "so that a leak could be seen"
