"""`orch schedule`: what it sends, prints and exits with (CLI-1, CLI-2)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Orch
from tests.cli.fake_gateway import FakeGateway, ok, refusal, timetable

FILE = """\
schedule_id: nightly
cron: 30 2 * * *
time_zone: Europe/Berlin
spec:
  name: x
  adapter: {name: command, config: {argv: ['true']}}
"""
PATH = "/v1/schedules/nightly"


@pytest.mark.req("SCH-6", "CLI-1")
def test_put_sends_the_file_and_prints_the_id(
    at_gateway: Orch, gateway: FakeGateway, tmp_path: Path
) -> None:
    file = tmp_path / "nightly.yaml"
    file.write_text(FILE)
    gateway.on("PUT", PATH, ok(timetable()))
    ended = at_gateway("schedule", "put", str(file), "--if-revision", "2")
    assert (ended.code, ended.out) == (0, "nightly\n")
    assert "At 02:30 every day, Europe/Berlin; next: 1970-01-02T00:00" in ended.err
    (asked,) = gateway.asked
    assert asked.query == {"if_revision": "2"}
    sent = json.loads(asked.body)
    assert (sent["cron"], sent["spec"]["adapter"]["config"]["cwd"]) == (
        "30 2 * * *", str(Path.cwd()),
    )  # fmt: skip


@pytest.mark.req("SCH-6", "CLI-2")
@pytest.mark.parametrize("text", ["- a\n", "cron: '@daily'\n", "schedule_id: ../x\n"])
def test_a_file_that_is_no_schedule_is_bad_input_and_not_sent(
    at_gateway: Orch, gateway: FakeGateway, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    assert (at_gateway("schedule", "put", str(file)).code, gateway.asked) == (6, [])


@pytest.mark.req("SCH-6", "CLI-1")
def test_show_tells_when_it_comes_and_what_came_of_the_last_time(
    at_gateway: Orch, gateway: FakeGateway
) -> None:
    gateway.on("GET", PATH, ok(timetable()))
    lines = at_gateway("schedule", "show", "nightly", "--tenant", "acme").out.splitlines()
    told = {line[:12].strip(): line[13:] for line in lines}
    assert gateway.asked[0].query == {"tenant": "acme"}
    assert told["when"] == "At 02:30 every day (30 2 * * *), Europe/Berlin"
    assert told["next"] == "1970-01-02T00:00:00.000Z"
    assert told["last"] == "fired, for 1970-01-01T00:00:01.000Z, 0.02 s after it, job j1"
    assert told["so far"] == "4 fired, 3 skipped, 2 refused, 1 missed"


@pytest.mark.req("SCH-6", "CLI-1")
def test_list_is_a_table_and_says_where_it_goes_on(at_gateway: Orch, gateway: FakeGateway) -> None:
    never = timetable(schedule_id="new", last=None, paused=True, next_fire_at_ms=None)
    page = {"schedules": [timetable(), never], "next_cursor": "abc"}
    gateway.on("GET", "/v1/schedules", ok(page))
    ended = at_gateway("schedule", "list", "--limit", "2")
    rows = [line.split() for line in ended.out.splitlines()]
    assert (rows[1][0], rows[1][-1]) == ("nightly", "fired")
    assert (rows[2][0], rows[2][-3:]) == ("new", ["paused", "-", "-"])
    assert "--cursor abc" in ended.err


@pytest.mark.req("SCH-6", "CLI-1")
@pytest.mark.parametrize(
    ("verb", "route", "says"),
    [
        ("pause", ("POST", f"{PATH}/pause"), "nightly: paused"),
        ("resume", ("POST", f"{PATH}/resume"), "nightly: paused"),
        ("delete", ("DELETE", PATH), "nightly is deleted"),
    ],
)
def test_a_schedule_is_held_and_taken_away(
    at_gateway: Orch, gateway: FakeGateway, verb: str, route: tuple[str, str], says: str
) -> None:
    gateway.on(*route, ok(timetable(paused=True)))
    ended = at_gateway("schedule", verb, "nightly")
    assert (ended.code, ended.out) == (0, says + "\n")


@pytest.mark.req("SCH-6", "CLI-1")
def test_fire_prints_the_job_and_exits_1_when_none_was_made(
    at_gateway: Orch, gateway: FakeGateway
) -> None:
    fired = {"result": "fired", "fire_at_ms": 1, "at_ms": 2, "by_hand": True, "job_id": "j7"}
    gateway.on("POST", f"{PATH}/fire", ok(fired, 202), ok({**fired, "result": "skipped"}, 202))
    made, skipped = (
        at_gateway("schedule", "fire", "nightly"),
        at_gateway("schedule", "fire", "nightly"),
    )
    assert (made.code, made.out) == (0, "j7\n")
    assert (skipped.code, skipped.out, skipped.err) == (1, "", "skipped: job j7 is not over\n")


@pytest.mark.req("SCH-6", "CLI-1")
def test_fire_under_a_key_sends_it_and_says_when_the_job_was_there_before(
    at_gateway: Orch, gateway: FakeGateway
) -> None:
    fired = {"result": "fired", "fire_at_ms": 1, "at_ms": 2, "by_hand": True, "job_id": "j7"}
    gateway.on("POST", f"{PATH}/fire", ok({**fired, "duplicate": True}))
    again = at_gateway("schedule", "fire", "nightly", "--idempotency-key", "k-1")
    assert (again.code, again.out) == (0, "j7\n")
    assert again.err == "it was fired under this key before; nothing new was made\n"
    assert gateway.asked[-1].headers["idempotency-key"] == "k-1"
    bad = at_gateway("schedule", "fire", "nightly", "--idempotency-key", "k 1")
    assert (bad.code, len(gateway.asked)) == (6, 1), "refused before anything was sent"


@pytest.mark.req("SCH-6", "CLI-2")
@pytest.mark.parametrize("verb", ["show", "pause", "resume", "delete", "fire", "put", "list"])
def test_with_json_the_body_is_printed_as_it_came(
    at_gateway: Orch, gateway: FakeGateway, tmp_path: Path, verb: str
) -> None:
    body = {
        "fire": {"result": "fired", "fire_at_ms": 1, "at_ms": 2},
        "list": {"schedules": [], "next_cursor": None},
    }.get(verb, timetable())
    for method in ("GET", "PUT", "DELETE"):
        gateway.on(method, PATH, ok(body))
    gateway.on("POST", f"{PATH}/{verb}", ok(body))
    gateway.on("GET", "/v1/schedules", ok(body))
    file = tmp_path / "nightly.yaml"
    file.write_text(FILE)
    words = {"put": [str(file)], "list": []}.get(verb, ["nightly"])
    ended = at_gateway("schedule", verb, *words, "--json")
    assert (ended.code, json.loads(ended.out), ended.err) == (0, body, "")


@pytest.mark.req("SCH-6", "CLI-2")
def test_a_refusal_is_one_error_with_its_exit_code(at_gateway: Orch, gateway: FakeGateway) -> None:
    gateway.on("GET", PATH, refusal("NOT_FOUND", 404))
    gateway.on("POST", f"{PATH}/fire", refusal("QUEUE_FULL", 429))
    assert at_gateway("schedule", "show", "nightly").code == 6
    assert at_gateway("schedule", "fire", "nightly").code == 1


@pytest.mark.req("SCH-6", "CLI-1")
def test_next_shows_times_there_and_in_utc_without_a_server(orch: Orch) -> None:
    ended = orch("schedule", "next", "30 2 * * *", "--zone", "Asia/Kolkata", "--count", "3")
    lines = ended.out.splitlines()
    assert (ended.code, len(lines)) == (0, 3)
    assert all("T02:30+05:30" in line and "T21:00:00.000Z" in line for line in lines)
    told = json.loads(orch("schedule", "next", "@daily", "--json").out)
    assert (told["sentence"], len(told["times"])) == ("At 00:00 every day", 5)


@pytest.mark.req("SCH-6", "CLI-2")
@pytest.mark.parametrize(
    "words", [["61 * * * *"], ["@daily", "--zone", "Mars/X"], ["@daily", "--count", "0"]]
)
def test_next_refuses_what_is_no_expression_zone_or_count(orch: Orch, words: list[str]) -> None:
    ended = orch("schedule", "next", *words)
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (6, "", 2)
