"""W3C's traceparent as it comes in, what travels in a stored spec, and ids that follow from facts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orch.core.tracing import (
    Carried,
    TraceContext,
    context_of,
    span_of,
    split_carried,
    with_carried,
)

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.req("MET-3")
def test_a_valid_traceparent_is_read_and_written_alike() -> None:
    context = context_of(GOOD)
    assert context == TraceContext(TRACE, SPAN, sampled=True)
    assert context.traceparent == GOOD
    unsampled = context_of(f"00-{TRACE}-{SPAN}-00")
    assert unsampled is not None
    assert not unsampled.sampled


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (f" {GOOD}\t", True),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"00-{TRACE}-{SPAN}-fe", False),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", True),
        (f"cc-{TRACE}-{SPAN}-01", True),
    ],
)
def test_flags_and_later_versions_are_read_as_w3c_says(text: str, sampled: bool) -> None:
    assert context_of(text) == TraceContext(TRACE, SPAN, sampled)


@pytest.mark.req("MET-3")
@pytest.mark.parametrize(
    "text",
    [
        None, "", "x", GOOD.upper(), f"ff-{TRACE}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE}-{SPAN}-1", f"00-{TRACE}-{SPAN}", f"{GOOD}-more",
        f"00-{TRACE[1:]}-{SPAN}-01", f"00_{TRACE}_{SPAN}_01", f"{GOOD},{GOOD}", f"{GOOD}\n",
        f"cc-{TRACE}-{SPAN}-01-{'x' * 600}", f"cc-{TRACE}-{SPAN}-01.x", f"00-{TRACE}-{SPAN}-\u0660\u0661",
    ],
)  # fmt: skip
def test_what_is_not_valid_counts_as_nothing_sent(text: str | None) -> None:
    assert context_of(text) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
SPEC = st.dictionaries(st.text(max_size=5), JSON, min_size=1, max_size=4).filter(
    lambda spec: "_carried" not in spec
)


@pytest.mark.req("MET-3")
@given(SPEC, st.text('!"#{}\\,:09az~', max_size=9), st.sampled_from(["", GOOD]))
def test_what_travels_comes_off_a_spec_as_it_went_on(
    spec: dict[str, object], correlation_id: str, traceparent: str
) -> None:
    plain = json.dumps(spec, ensure_ascii=False, separators=(",", ":"))
    carried = Carried(traceparent, correlation_id)
    stored = with_carried(plain, carried)
    assert split_carried(stored) == (plain, carried if any(carried) else None)
    # Readers that look for a key of the spec need not know of it.
    assert {**json.loads(stored), "_carried": 0} == {**spec, "_carried": 0}


def test_a_spec_without_anything_is_stored_to_the_byte() -> None:
    assert with_carried('{"name":"x"}', None) == '{"name":"x"}'
    assert with_carried('{"name":"x"}', Carried()) == '{"name":"x"}'


@pytest.mark.req("MET-3")
def test_spans_of_a_job_are_named_alike_by_all_and_apart_from_each_other() -> None:
    carried = TraceContext(TRACE, SPAN, sampled=True)
    spans = [
        span_of(carried, job, what, number)
        for job in ("a", "b")
        for what in ("dispatch", "attempt", "settle", "decide", "end")
        for number in (1, 2)
    ]
    assert len({one.span_id for one in spans}) == len(spans)
    assert {one.trace_id for one in spans} == {TRACE}
    # Pinned: processes of two versions of Orch name the same span.
    assert span_of(carried, "job", "attempt", 1).span_id == "41c02ee4f5df59bc"
    unsampled = TraceContext(TRACE, SPAN, sampled=False)
    assert not span_of(unsampled, "job", "end").sampled
