"""One truth for events: the catalogue, its page, the run it shows, and a test behind every event."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from contracts.events import CATALOGUE, MOVES, EventType, payload_faults
from contracts.states import Event
from ops.marks import Marked, marked_tests
from ops.timeline import FILE, normalised
from orch.core.ledger import parse_entry
from tests.shape.pages import ROOT, pages

FIXTURES = {"tests/store/": "world", "tests/e2e/": "stack"}
"""Where the mark `drives` is checked, and by which fixture."""
SCHEMA = Draft202012Validator(json.loads((ROOT / "contracts/schemas/v1/event.json").read_bytes()))
TIMELINE: list[dict[str, Any]] = json.loads((ROOT / FILE).read_bytes())


def driving() -> list[Marked]:
    return [test for test in marked_tests() if test.marks.get("drives")]


@pytest.mark.req("EVT-1", "EVT-5")
def test_every_event_has_a_test_that_makes_it_happen_and_proves_it() -> None:
    driven = {word for test in driving() for word in test.marks["drives"]}
    assert driven == {event.value for event in EventType}
    unchecked = [
        f"{test.file}:{test.line}"
        for test in driving()
        if not any(test.file.startswith(at) and by in test.fixtures for at, by in FIXTURES.items())
    ]
    assert unchecked == [], "nobody looks there whether it happened"


@pytest.mark.req("EVT-1")
def test_the_page_shows_for_each_event_its_fields_its_emitter_and_its_tests() -> None:
    text = pages()["contracts/events.md"].text
    for entry in CATALOGUE.values():
        section = text.partition(f"\n## {entry.type.value}\n")[2].partition("\n## ")[0]
        assert entry.meaning in section
        assert f"Emitted by: {entry.emitter}." in section
        assert all(f"| `{name}` |" in section for name in entry.fields), entry.type
        assert "Shown by: `tests/" in section, entry.type


@pytest.mark.req("EVT-5")
def test_the_catalogue_holds_the_names_that_were_promised() -> None:
    promised = (
        "status_changed stale_recovered job_timeout job_failed question_asked answer_consumed job_resumed"
        " lease_lost orphaned_result repaired"
    )
    assert set(promised.split()) <= {event.value for event in EventType}


# ---------------------------------------------------------------- fields


@pytest.mark.req("EVT-1")
@pytest.mark.parametrize("event", EventType)
def test_a_missing_and_an_invented_field_are_found(event: EventType) -> None:
    entry = CATALOGUE[event]
    whole: dict[str, Any] = dict.fromkeys(entry.fields.keys() - entry.optional, "x")
    assert payload_faults(event, whole) == []
    (invented,) = payload_faults(event, {**whole, "colour": 1})
    assert invented.endswith("no field 'colour' in the catalogue")
    for name in whole:
        less = {key: value for key, value in whole.items() if key != name}
        assert [fault for fault in payload_faults(event, less) if f"lacks {name!r}" in fault]


@pytest.mark.req("EVT-1")
@pytest.mark.parametrize("cause", Event)
def test_a_transition_has_the_fields_of_its_cause(cause: Event) -> None:
    move = MOVES[cause]
    bare = {"from": "running", "to": "queued", "cause": cause.value}
    whole = {**bare, **dict.fromkeys(move.always, "x")}
    assert payload_faults(EventType.STATUS_CHANGED, whole) == []
    full = {**whole, **dict.fromkeys(move.sometimes, "x")}
    assert payload_faults(EventType.STATUS_CHANGED, full) == []
    assert len(payload_faults(EventType.STATUS_CHANGED, bare)) == len(move.always)
    foreign = "newcomer" if "newcomer" not in move.always else "placed"
    (fault,) = payload_faults(EventType.STATUS_CHANGED, {**whole, foreign: "x"})
    assert fault == f"status_changed ({cause.value}): no field {foreign!r} in the catalogue"


# ---------------------------------------------------------------- the run that the page shows


@pytest.mark.req("EVT-5")
def test_the_run_on_the_page_is_of_the_catalogue_and_of_the_schema() -> None:
    for story in TIMELINE:
        assert [event["seq"] for event in story["events"]] == list(
            range(1, len(story["events"]) + 1)
        )
        for event in story["events"]:
            assert payload_faults(EventType(event["type"]), event["payload"]) == []
            assert list(SCHEMA.iter_errors({**event, "at_ms": 0, "epoch": 0})) == []
    shown = {event["type"] for story in TIMELINE for event in story["events"]}
    assert {
        "stale_recovered",
        "job_timeout",
        "job_failed",
        "answer_consumed",
        "job_resumed",
    } <= shown


@pytest.mark.req("EVT-1", "CON-1")
def test_the_schema_refuses_an_entry_without_a_field_of_its_type() -> None:
    event = {
        "seq": 1,
        "at_ms": 0,
        "type": "lease_lost",
        "actor": "runner",
        "attempt": 1,
        "epoch": 1,
    }
    assert list(SCHEMA.iter_errors({**event, "payload": {"claim": "1.1.x"}})) == []
    (error,) = SCHEMA.iter_errors({**event, "payload": {}})
    assert error.message == "'claim' is a required property"


def test_two_runs_that_differ_by_chance_alone_are_the_same() -> None:
    def run(claim: str, runner: str, epoch: int, at_ms: int) -> list[dict[str, Any]]:
        payload = json.dumps({"runner": runner, "claim": claim})
        step = {"step_id": "s", "key": claim, "exit_code": 0, "executed": True}
        steps = json.dumps({**step, "duration_ms": at_ms})
        return normalised(
            [
                parse_entry(1, f"{at_ms} dispatch:q>y {runner} 0 0 {{}}"),
                parse_entry(2, f"{at_ms} claim:y>r runner 1 {epoch} {payload}"),
                parse_entry(3, f"{at_ms} step_finished runner 1 {epoch} {steps}"),
            ]
        )

    one = run("1.1.a", "runner-a", 4_294_967_297, 5)
    assert one == run("2.9.b", "runner-b", 8_589_934_593, 99)
    changed = [*one[:2], {**one[2], "payload": {**one[2]["payload"], "exit_code": 1}}]
    assert changed != one
