"""Log lines: the ids of what a task works for, and nothing that nobody may read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from contracts.errors import ErrorCode, Refused
from orch.core.tracing import Carried
from orch.telemetry.redaction import Redactor, secrets_in, tell_exceptions, told
from orch.telemetry.subject import OneJob, add_ids, exemplar_of_task, handling, works_for
from tests.e2e.stack import environ

CANARY = "c4n4ry-0123456789"
TRACE = "c" * 32
SPAN = "d" * 16
CARRIED = Carried(f"00-{TRACE}-{SPAN}-01", "order-7")


@pytest.mark.req("MET-3")
async def test_a_task_and_what_it_starts_have_the_ids_of_its_job_and_others_have_not() -> None:
    seen: dict[str, dict[str, str]] = {}

    async def line(name: str) -> None:
        seen[name] = dict(add_ids(None, "", {}))

    async def worker() -> None:
        works_for(OneJob("job-1", CARRIED))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(line, "child")
        with handling(OneJob("job-2")):
            await line("inner")
            assert exemplar_of_task() is None
        await line("worker")
        assert exemplar_of_task() == {"trace_id": TRACE, "span_id": SPAN}

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker)
    await line("outside")
    ids = {"job_id": "job-1", "trace_id": TRACE, "correlation_id": "order-7"}
    assert seen == {"child": ids, "inner": {"job_id": "job-2"}, "worker": ids, "outside": {}}
    assert exemplar_of_task() is None


def test_what_a_line_says_itself_stands_and_an_unsampled_trace_is_no_exemplar() -> None:
    with handling(OneJob("job", Carried(f"00-{TRACE}-{SPAN}-00", ""))):
        assert add_ids(None, "", {"job_id": "mine"}) == {"job_id": "mine", "trace_id": TRACE}
        assert exemplar_of_task() is None


@pytest.mark.req("SEC-2")
@pytest.mark.parametrize(
    "line",
    [
        {"url": f"redis://user:{CANARY}@host/0"},
        {"url": f"https://host/x?a=b&api_key={CANARY}&c=d"},
        {"why": f"Authorization: Bearer {CANARY}"},
        {"why": f"basic {CANARY}"},
        {"authorization": CANARY},
        {"set_cookie": CANARY},
        {"about": {"password": CANARY}},
        {"about": [{"headers": CANARY}, (f"redis://:{CANARY}@h",)]},
        {"token": CANARY},
        {"why": f"orch_{'a' * 10}_{'s' * 52}_{'0' * 8}"},
        {"why": f"orcha_job-1_{'0f' * 32}"},
        {"exc": RuntimeError(f"redis://:{CANARY}@h")},
    ],
)
def test_secrets_are_struck_out_by_their_shape(line: dict[str, object]) -> None:
    said = json.dumps(Redactor()(None, "", dict(line)))
    assert "***" in said
    assert CANARY not in said
    assert "s" * 52 not in said
    assert "0f" * 32 not in said


@pytest.mark.req("SEC-2")
def test_secrets_of_the_environment_are_struck_out_wherever_they_stand() -> None:
    environment = {
        "MODEL_API_KEY": "sk-1-abcdef",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-key=otlp%20secret,y=2",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://u:p%40ssword@c",
        "ORCH_TOKEN": "tok-abcdef",
        "SHORT_TOKEN": "ab",
        "HOME": "/somewhere/home",
    }
    secrets = secrets_in(
        environment, "Bearer by-name", urls=["redis://:r3dis-pw@h", None, "http://["]
    )
    assert {
        "sk-1-abcdef",
        "otlp secret",
        "p@ssword",
        "tok-abcdef",
        "by-name",
        "r3dis-pw",
    } <= secrets
    assert not {"ab", "2", "/somewhere/home"} & secrets
    line = {"a": f"x{'sk-1-abcdef'}y", "b": ["r3dis-pw"], "n": 1, "ok": True, "none": None}
    struck = Redactor(secrets)(None, "", line)
    assert struck == {"a": "x***y", "b": ["***"], "n": 1, "ok": True, "none": None}


@pytest.mark.req("SEC-2")
def test_a_foreign_error_is_told_by_kind_and_place_and_ours_in_words() -> None:
    def broken() -> None:
        try:
            int(CANARY)
        except ValueError as error:
            raise RuntimeError(CANARY) from error

    with pytest.raises(RuntimeError) as raised:
        broken()
    line = tell_exceptions(None, "", {"exc_info": raised.value})
    said = str(line["exception"])
    assert CANARY not in said
    assert [word for word in said.splitlines() if not word.startswith(" ")] == [
        "RuntimeError", "ValueError",
    ]  # fmt: skip
    assert f"{Path(__file__)}:" in said
    assert told(Refused(ErrorCode.NOT_FOUND, "there is no job x")) == "NOT_FOUND: there is no job x"


SCRIPT = """
import logging, structlog
from orch.telemetry.logs import configure_logs
configure_logs("LEVEL", actor="gateway", secrets=["CANARY"])
structlog.get_logger().debug("ours", said="CANARY")
logging.getLogger("orch.gateway").debug("ours too %s", "CANARY")
logging.getLogger("lib").debug("theirs CANARY")
logging.getLogger("lib").warning("theirs %s", "CANARY")
try:
    raise ValueError("CANARY")
except ValueError:
    logging.getLogger("orch.gateway").exception("it broke")
    structlog.get_logger().exception("it broke")
"""


@pytest.mark.req("MET-3", "SEC-2")
@pytest.mark.parametrize(("level", "own"), [("debug", 2), ("info", 0)])
def test_every_line_is_json_and_libraries_are_heard_from_warnings_on(level: str, own: int) -> None:
    script = SCRIPT.replace("LEVEL", level).replace("CANARY", CANARY)
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env=environ(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert CANARY not in ran.stderr
    lines = [json.loads(line) for line in ran.stderr.splitlines()]
    assert {line["actor"] for line in lines} == {"gateway"}
    events = [line["event"] for line in lines]
    assert len([event for event in events if event.startswith("ours")]) == own
    assert [event for event in events if event.startswith("theirs")] == ["theirs ***"]
    assert [line["exception"].splitlines()[0] for line in lines if line["event"] == "it broke"] == [
        "ValueError", "ValueError",
    ]  # fmt: skip
