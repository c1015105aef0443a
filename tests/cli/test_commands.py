"""What every command prints, and what it exits with (CLI-1, CLI-2)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import CATALOGUE
from tests.cli.conftest import Orch
from tests.cli.fake_gateway import (
    SESSION,
    SESSIONS,
    FakeGateway,
    Reply,
    blocked,
    event,
    ok,
    record,
    refusal,
    sse,
)

SUBMITTED = {
    "job_id": "j1",
    "state": "queued",
    "queue_position": 2,
    "predicted_start_ms": None,
    "duplicate": False,
}
RUNNING = record(state="running", finished_at_ms=None, outcome=None, result=None)
EXPLAINED = {
    "job_id": "j1",
    "state": "queued",
    "reason": "no slot is free",
    "unblocks": "a finished job",
    "facts": {"ahead": 3},
}
LINES = {
    "lines": [
        {"i": 3, "stream": "stdout", "text": "a\n"},
        {"i": 4, "stream": "stderr", "text": "b"},
    ],
    "next_cursor": None,
    "trimmed": 2,
}
ARTIFACTS = {
    "artifacts": [{"name": "r.txt", "sha256": "a" * 64, "bytes": 3, "step_id": None, "attempt": 1}]
}
SPEC = {"name": "x", "adapter": {"name": "command", "config": {"argv": ["true"], "cwd": "/"}}}


def spec_file(tmp_path: Path, spec: Any = SPEC) -> str:
    file = tmp_path / "job.json"
    file.write_text(json.dumps(spec))
    return str(file)


# ---------------------------------------------------------------- --json


@pytest.mark.req("CLI-2")
@pytest.mark.parametrize(
    ("words", "route", "body"),
    [
        (["list"], ("GET", "/v1/jobs"), {"jobs": [record()], "next_cursor": None}),
        (["status", "j1"], ("GET", "/v1/jobs/j1"), record()),
        (["explain", "j1"], ("GET", "/v1/jobs/j1/explain"), EXPLAINED),
        (["artifacts", "j1"], ("GET", "/v1/jobs/j1/artifacts"), ARTIFACTS),
        (["wait", "j1"], ("GET", "/v1/jobs/j1"), record()),
        (["session", "list"], ("GET", "/v1/sessions"), SESSIONS),
        (["session", "show", "chat"], ("GET", "/v1/sessions/chat"), SESSION),
        (["cancel", "j1"], ("POST", "/v1/jobs/j1/cancel"), record()),
        (["pause", "j1"], ("POST", "/v1/jobs/j1/pause"), record()),
        (["resume", "j1"], ("POST", "/v1/jobs/j1/resume"), record()),
        (["answer", "j1", "x", "--question", "q1"], ("POST", "/v1/jobs/j1/answer"), record()),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_json_prints_the_body_as_it_came_and_nothing_else(
    at_gateway: Orch, gateway: FakeGateway, words: list[str], route: tuple[str, str], body: Any
) -> None:
    raw = json.dumps({**body, "a_field_of_a_newer_server": [1.0, "\N{SNOWMAN}"]}, indent=1)
    gateway.on(*route, Reply(200, raw.encode()))
    ended = at_gateway(*words, "--json")
    assert (ended.code, ended.out, ended.err) == (0, raw + "\n", "")


@pytest.mark.req("CLI-2")
def test_submit_json_is_the_post_body(
    at_gateway: Orch, gateway: FakeGateway, tmp_path: Path
) -> None:
    gateway.on("POST", "/v1/jobs", ok(SUBMITTED, 202))
    ended = at_gateway("submit", spec_file(tmp_path), "--json", "--idempotency-key", "k")
    assert (ended.code, json.loads(ended.out), ended.err) == (0, SUBMITTED, "")
    assert json.loads(gateway.asked[0].body) == SPEC
    assert gateway.asked[0].headers["idempotency-key"] == "k"


@pytest.mark.req("CLI-2", "EVT-2")
@pytest.mark.parametrize("follow", [True, False])
def test_events_json_is_the_ledger_as_json_lines(
    at_gateway: Orch, gateway: FakeGateway, follow: bool
) -> None:
    rows = [event(1, "queued", "admit"), event(2, "running", "claim"), event(3, "completed")]
    gateway.on(
        "GET",
        "/v1/jobs/j1/ledger",
        ok({"events": rows[:2], "next_cursor": "2"}),
        ok({"events": rows[2:], "next_cursor": None}),
    )
    frames = [(f"{row['seq']}-0", "status", row) for row in rows]
    end = ("3-0", "end", {"state": "completed"})
    gateway.on("GET", "/v1/jobs/j1/events", sse(*frames[:2]), sse(frames[2], end))
    ended = at_gateway("events", "j1", "--json", *(["--follow"] if follow else []))
    assert [json.loads(line) for line in ended.out.splitlines()] == rows
    assert (ended.code, ended.err) == (0, "job is completed\n" if follow else "")


@pytest.mark.req("CLI-2")
@pytest.mark.parametrize("follow", [True, False])
def test_logs_json_is_one_object_a_line(
    at_gateway: Orch, gateway: FakeGateway, follow: bool
) -> None:
    rows: list[dict[str, Any]] = LINES["lines"]  # type: ignore[assignment]  # the body is JSON
    gateway.on("GET", "/v1/jobs/j1/logs", ok(LINES))
    gap = ("0-2", "gap", {"from_i": 1, "to_i": 2})
    frames = [(f"0-{row['i']}", "log", row) for row in rows]
    end = ("1-4", "end", {"state": "completed"})
    gateway.on("GET", "/v1/jobs/j1/events", sse(gap, *frames, end))
    ended = at_gateway("logs", "j1", "--json", *(["-f"] if follow else []))
    assert [json.loads(line) for line in ended.out.splitlines()] == rows
    assert "trimmed" in ended.err


@pytest.mark.req("CLI-2", "API-3")
@pytest.mark.parametrize(
    "code", [code for code, row in CATALOGUE.items() if row.http_status is not None]
)
def test_every_error_has_its_exit_code_and_its_body_on_stdout(
    at_gateway: Orch, gateway: FakeGateway, code: str
) -> None:
    row = next(row for row in CATALOGUE.values() if row.code == code)
    reply = refusal(code, row.http_status or 0, details={"a": 1})
    gateway.on("GET", "/v1/jobs/j1", reply)
    machine = at_gateway("status", "j1", "--json")
    human = at_gateway("status", "j1")
    assert (machine.code, json.loads(machine.out), machine.err) == (
        row.exit_code,
        json.loads(reply.body),
        "",
    )
    assert (human.code, human.out, human.err) == (
        row.exit_code,
        "",
        f"{code}: no: {code}\ndo better\n",
    )


# ---------------------------------------------------------------- for humans


def test_submit_prints_the_id_and_talks_on_stderr(
    at_gateway: Orch, gateway: FakeGateway, tmp_path: Path
) -> None:
    gateway.on("POST", "/v1/jobs", ok(SUBMITTED, 202))
    ended = at_gateway("submit", spec_file(tmp_path))
    assert (ended.code, ended.out) == (0, "j1\n")
    assert f"orch wait j1 --url {gateway.url}" in ended.err


def test_status_shows_attempts_with_the_claim_as_incarnation_and_number(
    at_gateway: Orch, gateway: FakeGateway
) -> None:
    gateway.on("GET", "/v1/jobs/j1", ok(record()))
    ended = at_gateway("status", "j1")
    head, _, table = ended.out.partition("\n\n")
    assert head.splitlines() == [
        "job       j1",
        "name      hello",
        "state     completed",
        "where     pool default, priority batch, tenant default",
        "created   1970-01-01T00:00:00.500Z",
        "started   1970-01-01T00:00:01.000Z",
        "finished  1970-01-01T00:00:03.500Z after 2.50 s",
        "outcome   done",
        'result    {"exit_code":0}',
    ]
    assert [line.split() for line in table.splitlines()] == [
        ["ATTEMPT", "EPOCH", "RUNNER", "STARTED", "DURATION", "OUTCOME", "EXIT", "REASON"],
        ["1", "3.7", "runner-a", "1970-01-01T00:00:01.000Z", "2.50", "s", "done", "0", "completed"],
    ]


@pytest.mark.req("CLI-1")
def test_status_of_a_blocked_job_shows_the_command_that_answers_it(
    at_gateway: Orch, gateway: FakeGateway
) -> None:
    gateway.on("GET", "/v1/jobs/j1", ok(blocked()))
    out = at_gateway("status", "j1").out
    assert "state     blocked: waits for a human (approval)" in out
    assert "question  Deploy to production?" in out
    assert "approve: approve, deny" in out
    assert f"answer    orch answer j1 approve --question q1 --url {gateway.url}" in out


def test_a_name_from_a_job_cannot_move_the_cursor(at_gateway: Orch, gateway: FakeGateway) -> None:
    evil = record(name="\x1b[2J\x1b]0;owned\x07\nstate     completed")
    gateway.on("GET", "/v1/jobs/j1", ok(evil))
    gateway.on("GET", "/v1/jobs", ok({"jobs": [evil], "next_cursor": None}))
    for words in (["status", "j1"], ["list"]):
        out = at_gateway(*words).out
        assert "\x1b" not in out
        assert "\x07" not in out
        assert "\nstate     completed\nstate" not in out


def test_list_passes_its_filters_on(at_gateway: Orch, gateway: FakeGateway) -> None:
    gateway.on("GET", "/v1/jobs", ok({"jobs": [record()], "next_cursor": "c2"}))
    ended = at_gateway("list", "--state", "completed", "--tenant", "t", "--limit", "5")
    assert gateway.asked[0].query == {"state": "completed", "tenant": "t", "limit": "5"}
    assert ended.out.splitlines()[1].split() == [
        "j1", "completed", "default", "1", "1970-01-01T00:00:00.500Z", "hello",
    ]  # fmt: skip
    assert "--cursor c2" in ended.err


@pytest.mark.req("API-1", "CLI-2")
def test_every_filter_of_a_list_is_an_option(at_gateway: Orch, gateway: FakeGateway) -> None:
    gateway.on("GET", "/v1/jobs", ok({"jobs": [], "next_cursor": None}))
    words = (
        "--pool gpu --name red --session s1 --label team=a=b --created-from-ms 5 --created-to-ms 9"
    )
    assert at_gateway("list", *words.split()).code == 0
    assert gateway.asked[-1].query == {
        "pool": "gpu", "name": "red", "session": "s1", "label": "team=a=b",
        "created_from_ms": "5", "created_to_ms": "9", "limit": "50",
    }  # fmt: skip
    at_gateway("list", "--label", "a=b", "--label", "c=d")
    assert gateway.asked[-1].query["label"] == "c=d", "and the other one before it"
    assert at_gateway("list", "--label", "team").code == 6


def test_logs_prints_the_text(at_gateway: Orch, gateway: FakeGateway) -> None:
    gateway.on("GET", "/v1/jobs/j1/logs", ok(LINES))
    ended = at_gateway("logs", "j1")
    assert (ended.out, ended.err) == ("a\nb\n", "(2 older pieces were trimmed)\n")


def test_pieces_of_a_line_stay_one_line(at_gateway: Orch, gateway: FakeGateway) -> None:
    pieces = [("stdout", "10 %"), ("stdout", "..20 %"), ("stderr", "oh\n"), ("stdout", "30 %")]
    lines = [{"i": i, "stream": stream, "text": text} for i, (stream, text) in enumerate(pieces, 1)]
    gateway.on("GET", "/v1/jobs/j1/logs", ok({"lines": lines, "next_cursor": None, "trimmed": 0}))
    assert at_gateway("logs", "j1").out == "10 %..20 %\noh\n30 %\n"


@pytest.mark.req("EVT-2")
@pytest.mark.parametrize("follow", [True, False])
def test_tokens_flow_as_the_text_they_are(
    at_gateway: Orch, gateway: FakeGateway, follow: bool
) -> None:
    pieces = [("token", "Once "), ("token", "upon"), ("stderr", "oh\n"), ("token", " a time")]
    lines = [{"i": i, "stream": stream, "text": text} for i, (stream, text) in enumerate(pieces, 1)]
    gateway.on("GET", "/v1/jobs/j1/logs", ok({"lines": lines, "next_cursor": None, "trimmed": 0}))
    frames = [
        (f"0-{row['i']}", "token", {"t": row["text"], "i": row["i"]})
        if row["stream"] == "token"
        else (f"0-{row['i']}", "log", row)
        for row in lines
    ]
    used = ("1-4", "metrics", {"attempt": 1, "tokens_in": 1, "tokens_out": 2, "cost_micros": None})
    end = ("2-4", "end", {"state": "completed"})
    gateway.on("GET", "/v1/jobs/j1/events", sse(*frames, used, end))
    ended = at_gateway("logs", "j1", *(["-f"] if follow else []))
    assert ended.out == "Once upon\noh\n a time\n"


def test_an_artifact_is_written_where_it_was_asked_for(
    at_gateway: Orch, gateway: FakeGateway, tmp_path: Path
) -> None:
    content = bytes(range(256))
    sha256 = hashlib.sha256(content).hexdigest()
    gateway.on(
        "GET", f"/v1/jobs/j1/artifacts/{sha256}", Reply(200, content, "application/octet-stream")
    )
    ended = at_gateway("artifacts", "j1", "--get", sha256, "-o", str(tmp_path / "r"))
    assert (ended.code, ended.out, (tmp_path / "r").read_bytes()) == (0, "", content)


def test_an_artifact_that_is_not_what_its_name_says_is_not_written(
    at_gateway: Orch, gateway: FakeGateway, tmp_path: Path
) -> None:
    gateway.on("GET", f"/v1/jobs/j1/artifacts/{'a' * 64}", Reply(200, b"other"))
    ended = at_gateway("artifacts", "j1", "--get", "a" * 64, "-o", str(tmp_path / "r"))
    assert (ended.code, (tmp_path / "r").exists()) == (1, False)


# ---------------------------------------------------------------- wait


@pytest.mark.req("CLI-2")
@pytest.mark.parametrize(
    ("state", "code"),
    [("completed", 0), ("failed", 1), ("canceled", 1), ("expired", 1), ("blocked", 4)],
)
def test_wait_exits_with_how_the_job_ended(
    at_gateway: Orch, gateway: FakeGateway, state: str, code: int, tmp_path: Path
) -> None:
    gateway.on("POST", "/v1/jobs", ok(SUBMITTED, 202))
    gateway.on("GET", "/v1/jobs/j1", ok({**blocked(), "state": state}))
    waited = at_gateway("wait", "j1")
    assert (waited.code, waited.out) == (code, f"{state}\n")
    submitted = at_gateway("submit", spec_file(tmp_path), "--wait", "--json")
    assert (submitted.code, json.loads(submitted.out)["state"]) == (code, state)


@pytest.mark.req("CLI-2")
def test_wait_through_goes_on_after_the_question(at_gateway: Orch, gateway: FakeGateway) -> None:
    gateway.on("GET", "/v1/jobs/j1", ok(blocked()), ok(record()))
    gateway.on(
        "GET", "/v1/jobs/j1/events", sse(("1-0", "status", event(1, "completed")), hold=True)
    )
    assert at_gateway("wait", "j1", "--through").code == 0


@pytest.mark.req("CLI-2")
def test_wait_gives_up_with_the_code_timeout(at_gateway: Orch, gateway: FakeGateway) -> None:
    gateway.on("GET", "/v1/jobs/j1", ok(RUNNING))
    gateway.on("GET", "/v1/jobs/j1/events", sse(hold=True))
    ended = at_gateway("wait", "j1", "--timeout", "0.1", "--json")
    assert (ended.code, json.loads(ended.out)["code"]) == (1, "TIMEOUT")


# ---------------------------------------------------------------- answers


@pytest.mark.req("CLI-1")
@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["answer", "j1", "deny", "--reason", "no"], "deny"),
        (["answer", "j1", "--reason", "no", "--", "-5"], "-5"),
        (["approve", "j1", "--reason", "no"], "approve"),
        (["deny", "j1", "--reason", "no"], "deny"),
    ],
)
def test_an_answer_goes_to_the_open_question(
    orch: Orch, gateway: FakeGateway, words: list[str], value: str
) -> None:
    gateway.on("GET", "/v1/jobs/j1", ok(blocked()))
    gateway.on("POST", "/v1/jobs/j1/answer", ok(record(state="queued"), 202))
    ended = orch(words[0], "--url", gateway.url, *words[1:])
    assert (ended.code, ended.out) == (0, "queued\n")
    sent = json.loads(gateway.asked[-1].body)
    assert sent == {"question_id": "q1", "value": value, "reason": "no"}


def test_an_answer_to_a_job_that_asks_nothing_is_refused(
    at_gateway: Orch, gateway: FakeGateway
) -> None:
    gateway.on("GET", "/v1/jobs/j1", ok(record()))
    ended = at_gateway("answer", "j1", "approve")
    assert (ended.code, ended.err.splitlines()[0]) == (
        1,
        "ALREADY_ANSWERED: job j1 is completed and asks nothing",
    )


@pytest.mark.req("SCH-4", "CLI-3")
def test_sessions_are_shown_as_tables_that_name_who_runs(
    at_gateway: Orch, gateway: FakeGateway
) -> None:
    gateway.on("GET", "/v1/sessions", ok(SESSIONS))
    gateway.on("GET", "/v1/sessions/chat", ok(SESSION))
    listed = at_gateway("session", "list").out.splitlines()
    assert listed[1].split() == ["chat", "a", "1", "j1"]
    shown = at_gateway("session", "show", "chat", "--tenant", "a").out.splitlines()
    assert shown[0] == "chat of a: j1 runs"
    assert shown[2].split()[:4] == ["j1", "running", "default", "batch"]
    assert gateway.asked[-1].query == {"tenant": "a"}
