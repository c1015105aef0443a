"""What a submission's jobs take along, and its spans: with and without traces, a context, an id."""

from __future__ import annotations

import pytest

from contracts.errors import ErrorCode, Refused
from contracts.record import Submitted
from contracts.states import State
from orch.core.tracing import Carried
from orch.telemetry.submitting import submitting
from tests.telemetry.album import Album

CALLER = f"00-{'c' * 32}-{'d' * 16}-01"
UNSAMPLED = f"00-{'c' * 32}-{'d' * 16}-00"


def accepted(job_id: str) -> Submitted:
    return Submitted(
        job_id=job_id,
        state=State.QUEUED,
        queue_position=0,
        predicted_start_ms=None,
        duplicate=False,
    )


@pytest.mark.req("MET-3")
def test_without_traces_only_what_the_caller_gave_travels() -> None:
    assert submitting(None, traceparent=None, correlation_id="ours") is None
    assert submitting(None, traceparent="rubbish") is None
    given = submitting(None, traceparent=None, correlation_id="mine", is_given=True)
    assert given is not None
    assert given.carried() == Carried("", "mine")
    traced = submitting(None, traceparent=CALLER, correlation_id="ours")
    assert traced is not None
    with traced:
        assert traced.carried() == Carried(CALLER, "ours")
        traced.told([accepted("job")])


@pytest.mark.req("MET-3")
@pytest.mark.parametrize("traceparent", [None, CALLER])
def test_a_job_carries_the_span_of_its_own_admission(traceparent: str | None) -> None:
    album = Album()
    going = submitting(album, traceparent=traceparent, began_ns=-5)
    assert going is not None
    with going:
        carried = [going.carried(), going.carried()]
        going.told([accepted("one"), Refused(ErrorCode.QUEUE_FULL, "full")])
    one, two = album.named("admit queue")
    (submit,) = album.named("submit requests")
    assert [one.context.traceparent, two.context.traceparent] == [c.traceparent for c in carried]
    assert one.parent == two.parent == submit.context
    assert submit.context.trace_id == ("c" if traceparent else "a") * 32
    assert (submit.parent is None) == (traceparent is None)
    assert (one.error, two.error, submit.error) == (None, "QUEUE_FULL", None)
    assert submit.attributes["messaging.batch.message_count"] == 2
    assert submit.started_ns == -5
    assert submit.started_ns < one.started_ns < one.ended_ns < submit.ended_ns


@pytest.mark.req("MET-3")
@pytest.mark.parametrize(
    ("error", "code"),
    [(Refused(ErrorCode.INVALID_SPEC, "no"), "INVALID_SPEC"), (RuntimeError("no"), "RuntimeError")],
)
def test_a_request_that_is_refused_is_a_span_with_the_code(error: Exception, code: str) -> None:
    def goes_wrong(album: Album) -> None:
        going = submitting(album, traceparent=None)
        assert going is not None
        with going:
            raise error

    album = Album()
    with pytest.raises(type(error)):
        goes_wrong(album)
    assert [span.error for span in album.spans] == [code]


@pytest.mark.req("MET-3")
def test_what_is_not_sampled_is_not_recorded_and_says_so_on_its_way() -> None:
    assert submitting(Album(samples=False), traceparent=None, correlation_id="ours") is None
    for samples, traceparent in ((False, CALLER), (True, UNSAMPLED)):
        album = Album(samples=samples)
        going = submitting(album, traceparent=traceparent)
        assert going is not None
        with going:
            assert going.carried().traceparent == UNSAMPLED
            going.told([accepted("job")])
        assert album.spans == []
