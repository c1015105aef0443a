"""Canonical bytes, derived ids, scheduling policies and answers: pure functions over documents."""

from __future__ import annotations

from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import ErrorCode, Refused
from contracts.ids import is_id
from contracts.limits import ANSWER_BYTES_MAX, JSON_DEPTH_MAX
from contracts.record import Question
from orch.core.canonical import canonical, depth_of, digest
from orch.core.derived import base32, job_id_of_entry
from orch.core.questions import checked_answer
from orch.core.scheduling import PriorityClass, scheduling_policy
from orch.system import SystemIds


@pytest.mark.req("CON-2")
def test_the_same_document_has_the_same_bytes_however_it_was_written() -> None:
    assert canonical({"b": 1.0, "a": [True, None, "é"]}) == '{"a":[true,null,"é"],"b":1}'.encode()
    assert canonical({"\u20ac": 1, "\r": 2, "1": 3}) == '{"\\r":2,"1":3,"€":1}'.encode()
    assert canonical(-0.0) == b"0"
    assert canonical(1e21) == b"1e+21"
    assert canonical(333333333.33333329) == b"333333333.3333333"


@pytest.mark.req("CON-2")
def test_digests_are_the_ones_that_stored_jobs_were_compared_by() -> None:
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert digest({"a": 1}) == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1.0})
    assert digest({"a": 1}) != digest({"a": "1"})


TEXTS = st.text(max_size=6) | st.sampled_from(
    ["\ud800", "\udfff", "\ue000", "\uffff", "\U00010000", "\U0010ffff", "\u2028", "\x7f", "\0", '"\\/',
     ":1.5", ":null", "[1e5", ",9007199254740992", "null", "é", "\b\t\n\x0b\f\r\x1f"]
)  # fmt: skip
NUMBERS = st.integers() | st.floats() | st.sampled_from(
    [-0.0, 0.0, 1.0, 1e20, 1e21, 1e-6, 1e-7, 5e-324, 2**53, 2**53 - 1, -(2**53), 1 - 2**53, 2.0**53, 2**63,
     2**64, 10**15, 10**16, 333333333.33333329, float("nan"), float("inf")]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def as_the_rfc_says(document: Any) -> bytes | None:
    try:
        return rfc8785.dumps(document)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        return None


@pytest.mark.req("CON-2")
@settings(max_examples=500)
@given(st.dictionaries(TEXTS, VALUES, max_size=5))
def test_the_quick_way_gives_the_bytes_of_the_rfc_or_leaves_it_to_them(document: Any) -> None:
    try:
        made = canonical(document)
    except Refused:
        made = None
    assert made == as_the_rfc_says(document)


@pytest.mark.req("CON-2")
def test_every_character_is_written_as_the_rfc_says() -> None:
    letters = [chr(n) for n in range(0x11000) if not 0xD800 <= n < 0xE000]
    for begin in range(0, len(letters), 64):
        piece = letters[begin : begin + 64]
        for document in ({"text": "".join(piece)}, dict.fromkeys(piece, 1)):
            assert canonical(document) == rfc8785.dumps(document)


@pytest.mark.req("CON-2")
def test_documents_of_depth_at_the_bound_are_told_apart_whatever_their_texts_hold() -> None:
    brackets = "[{" * JSON_DEPTH_MAX
    assert canonical({"a": brackets}) == rfc8785.dumps({"a": brackets})
    assert canonical({"a": nested(JSON_DEPTH_MAX - 1)}).endswith(b"]}")
    for value in (nested(JSON_DEPTH_MAX), nested(1_000)):
        with pytest.raises(Refused):
            canonical({"a": value})


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.req("CON-2", "ADM-6")
@pytest.mark.parametrize(
    "value",
    [
        2**53 + 1,
        -(2**53) - 1,
        float("nan"),
        float("inf"),
        "\ud800",
        {"\ud800": 1},
        nested(JSON_DEPTH_MAX + 1),
    ],
    ids=["large", "small", "nan", "inf", "surrogate", "surrogate key", "deep"],
)
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(Refused) as refused:
        canonical({"value": value})
    assert refused.value.code is ErrorCode.INVALID_SPEC


def test_depth_is_counted_to_the_bound_and_no_further() -> None:
    assert [depth_of(nested(n)) for n in (1, 2, JSON_DEPTH_MAX)] == [1, 2, JSON_DEPTH_MAX]
    assert depth_of(nested(50_000)) == JSON_DEPTH_MAX + 1
    assert canonical(nested(JSON_DEPTH_MAX)).startswith(b"[[")


@pytest.mark.req("JOB-3")
@given(st.integers(0, 2**45 - 1), st.integers(0, 2**45 - 1))
def test_written_numbers_sort_like_the_numbers(one: int, other: int) -> None:
    assert (base32(one, 9) < base32(other, 9)) == (one < other)


@pytest.mark.req("JOB-3")
@given(st.integers(1, 2**21), st.integers(0, 2**45 - 2), st.integers(0, 1_000))
def test_the_id_of_an_entry_is_always_the_same_and_later_entries_sort_later(
    incarnation: int, at_ms: int, n: int
) -> None:
    made = job_id_of_entry(incarnation, f"{at_ms}-{n}")
    assert made == job_id_of_entry(incarnation, f"{at_ms}-{n}")
    assert (len(made), is_id(made)) == (20, True)
    assert made < job_id_of_entry(incarnation, f"{at_ms + 1}-0")
    others = {
        job_id_of_entry(incarnation + 1, f"{at_ms}-{n}"),
        job_id_of_entry(incarnation, f"{at_ms}-{n + 1}"),
    }
    assert made not in others


@pytest.mark.req("JOB-3")
def test_fresh_ids_differ_within_a_millisecond_and_never_go_back() -> None:
    ids = SystemIds()
    made = [ids.job_id() for _ in range(20_000)]
    assert len(set(made)) == len(made)
    assert all(len(one) == 20 and is_id(one) for one in made)
    assert [one[:9] for one in made] == sorted(one[:9] for one in made)


@pytest.mark.req("SCH-1")
def test_a_policy_is_written_as_dispatch_takes_it() -> None:
    made = scheduling_policy(
        ("interactive:8", "batch:1"), default_class="batch", scheduling="fair", aging_ms=60_000
    )
    assert made.text() == "fair 60000 interactive:8 batch:1"
    assert made.classes == (PriorityClass("interactive", 8), PriorityClass("batch", 1))
    assert (made.class_of(None), made.class_of("interactive")) == ("batch", "interactive")
    with pytest.raises(Refused) as refused:
        made.class_of("urgent")
    assert (refused.value.code, refused.value.details) == (
        ErrorCode.INVALID_SPEC,
        {"path": "priority"},
    )


@pytest.mark.req("SCH-1", "CFG-2")
@pytest.mark.parametrize(
    ("words", "default"),
    [
        ((), "a"),
        (("a:1", "a:2"), "a"),
        (tuple(f"c{n}:1" for n in range(9)), "c0"),
        (("a",), "a"),
        (("a:",), "a"),
        (("a:0",), "a"),
        (("a:1001",), "a"),
        (("a:-1",), "a"),
        (("a:x",), "a"),
        (("a:1:2",), "a"),
        (("a b:1",), "a b"),
        (("a:²",), "a"),
        (("a:1",), "b"),
    ],
)
def test_a_malformed_policy_is_refused(words: tuple[str, ...], default: str) -> None:
    with pytest.raises(Refused) as refused:
        scheduling_policy(words, default_class=default, scheduling="fair", aging_ms=1_000)
    assert refused.value.code is ErrorCode.INVALID_CONFIG


def asked(kind: Any, options: list[str] | None = None) -> Question:
    return Question(question_id="q", text="?", kind=kind, options=options, expires_at_ms=None)


@pytest.mark.req("APR-1")
@pytest.mark.parametrize(
    ("question", "value", "stored"),
    [
        (asked("approve"), "approve", "approve"),
        (asked("approve"), "deny", "deny"),
        (asked("approve"), True, "approve"),
        (asked("approve"), False, "deny"),
        (asked("choose", ["a", "b"]), "b", "b"),
        (asked("text"), "any words", "any words"),
        (asked("text"), "x" * ANSWER_BYTES_MAX, "x" * ANSWER_BYTES_MAX),
    ],
)
def test_an_answer_that_fits_is_stored_as_its_word(
    question: Question, value: object, stored: str
) -> None:
    assert checked_answer(question, value) == stored


@pytest.mark.req("APR-1")
@pytest.mark.parametrize(
    ("question", "value"),
    [
        (asked("approve"), "yes"),
        (asked("approve"), 1),
        (asked("approve"), None),
        (asked("approve"), []),
        (asked("choose", ["a", "b"]), "c"),
        (asked("choose", ["1"]), 1),
        (asked("choose", ["a"]), ["a"]),
        (asked("text"), ""),
        (asked("text"), 3),
        (asked("text"), "ü" * (ANSWER_BYTES_MAX // 2 + 1)),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(question: Question, value: object) -> None:
    with pytest.raises(Refused) as refused:
        checked_answer(question, value)
    assert refused.value.code is ErrorCode.INVALID_ANSWER
    assert refused.value.details is not None
    assert refused.value.details["question_id"] == "q"
