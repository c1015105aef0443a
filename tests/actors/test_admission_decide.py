"""A stream entry in, a submission or a refusal out (ADM-1, ADM-6)."""

from __future__ import annotations

import json

import pytest

from actors.admission.decide import ask_of, request_id_of
from contracts.errors import ErrorCode, Refused
from orch.core.asks import Ask
from orch.core.derived import job_id_of_entry

REFUSALS = (
    "another version; a version with a blank; no document; no JSON; a key twice; a key twice below; NaN; "
    "infinite; beyond 2**53; no UTF-8; half a character as a key; half a character twice; "
    "nested beyond reason; nested too deep; endless digits; too large"
)
SPEC = {"name": "x", "adapter": {"name": "command", "config": {"argv": ["true"]}}}


def fields(**more: str) -> dict[str, str]:
    return {"v": "1", "request_id": "r-1", "spec": json.dumps(SPEC), **more}


@pytest.mark.req("ADM-1")
def test_a_request_is_a_submission_whose_id_follows_from_its_entry() -> None:
    assert ask_of("5-0", fields(), incarnation=3) == Ask(
        document=SPEC,
        entry_id="5-0",
        request_id="r-1",
        job_id=job_id_of_entry(3, "5-0"),
    )


@pytest.mark.req("ADM-1", "JOB-3")
def test_a_redelivery_has_the_same_id_and_another_entry_or_incarnation_has_not() -> None:
    first = ask_of("5-0", fields(), incarnation=3).job_id
    assert ask_of("5-0", fields(), incarnation=3).job_id == first
    assert ask_of("5-1", fields(), incarnation=3).job_id != first
    assert ask_of("5-0", fields(), incarnation=4).job_id != first


@pytest.mark.req("ADM-6")
@pytest.mark.parametrize(
    ("given", "code", "path"),
    [
        ({"v": "2"}, ErrorCode.INVALID_REQUEST, "v"),
        ({"v": "1 "}, ErrorCode.INVALID_REQUEST, "v"),
        ({"spec": ""}, ErrorCode.INVALID_SPEC, "$"),
        ({"spec": "{"}, ErrorCode.INVALID_SPEC, "$"),
        ({"spec": '{"a": 1, "a": 2}'}, ErrorCode.INVALID_SPEC, "a"),
        ({"spec": '{"b": {"a": 1, "a": 2}}'}, ErrorCode.INVALID_SPEC, "a"),
        ({"spec": '{"a": NaN}'}, ErrorCode.INVALID_SPEC, "$"),
        ({"spec": '{"a": 1e999}'}, ErrorCode.INVALID_SPEC, "$"),
        ({"spec": '{"a": 9007199254740993}'}, ErrorCode.INVALID_SPEC, "$"),
        ({"spec": '{"a": "\udcff"}'}, ErrorCode.INVALID_SPEC, "$"),
        ({"spec": '{"\\ud800": 1}'}, ErrorCode.INVALID_SPEC, "$"),
        ({"spec": '{"\\ud800": 1, "\\ud800": 2}'}, ErrorCode.INVALID_SPEC, "\\ud800"),
        ({"spec": "[" * 100_000}, ErrorCode.INVALID_SPEC, "$"),
        ({"spec": "[" * 200 + "]" * 200}, ErrorCode.INVALID_SPEC, "$"),
        ({"spec": "9" * 5_000}, ErrorCode.INVALID_SPEC, "$"),
        ({"spec": " " * (2**20 + 1)}, ErrorCode.PAYLOAD_TOO_LARGE, None),
    ],
    ids=REFUSALS.split("; "),
)
def test_what_is_no_request_is_refused_in_words_that_can_be_sent(
    given: dict[str, str], code: ErrorCode, path: str | None
) -> None:
    with pytest.raises(Refused) as refused:
        ask_of("5-0", fields(**given), incarnation=1)
    assert refused.value.code is code
    if path is not None:
        assert (refused.value.details or {})["path"] == path
    json.dumps(refused.value.body("r"), ensure_ascii=False).encode()


@pytest.mark.req("ADM-6")
@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("r-1", "r-1"),
        ("", ""),
        ("../x", ""),
        ("a b", ""),
        ("a:b", ""),
        ("x" * 65, ""),
        ("\udcff", ""),
    ],
)
def test_an_answer_goes_only_to_a_legal_place(given: str, place: str) -> None:
    assert request_id_of({"request_id": given}) == place
    assert request_id_of({}) == ""
