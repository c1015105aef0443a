"""What is signed, when a delivery is tried again, and what a receiver makes of it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest

from contracts.states import State
from contracts.webhooks import RETRY_DELAYS_MS
from orch.client.webhooks import HeaderMissing, SignatureInvalid, TimestampOutside, verify
from orch.core.webhooks import (
    Answered,
    Next,
    delivery_id,
    fields_of_ending,
    headers,
    next_of,
    posted,
    retry_after_ms,
    secret_of,
)

SECRET = secret_of(bytes(range(32)))
OTHER = secret_of(bytes(32))
NOW_S = 1_700_000_000
BODY = b'{"type":"job.completed","data":{}}'


def by_the_specification(secret: str, message: str, stamp: int, body: bytes) -> str:
    key = base64.b64decode(secret.split("_", 1)[1])
    digest = hmac.new(key, f"{message}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


@pytest.mark.req("EVT-4")
def test_a_request_is_signed_as_standard_webhooks_says() -> None:
    signed = headers([SECRET], "msg_1", NOW_S, BODY)
    assert signed == {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(NOW_S),
        "webhook-signature": by_the_specification(SECRET, "msg_1", NOW_S, BODY),
    }


@pytest.mark.req("EVT-4")
def test_the_example_of_the_specification_comes_out() -> None:
    # From the reference implementations of standardwebhooks.com: their test vector.
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signed = headers([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.req("EVT-4")
@pytest.mark.parametrize("secrets", [SECRET, OTHER, [OTHER, SECRET], [SECRET]])
def test_a_receiver_that_knows_either_secret_of_a_rotation_accepts(
    secrets: str | list[str],
) -> None:
    signed = headers([SECRET, OTHER], "msg_1", NOW_S, BODY)
    found = verify(BODY, {k.title(): v for k, v in signed.items()}, secrets, now_ms=NOW_S * 1000)
    assert found == json.loads(BODY)


@pytest.mark.req("EVT-4")
def test_a_changed_body_id_time_or_secret_is_noticed() -> None:
    signed = headers([SECRET], "msg_1", NOW_S, BODY)
    now_ms = NOW_S * 1000
    for body, given, secret in (
        (BODY + b" ", signed, SECRET),
        (BODY, {**signed, "webhook-id": "msg_2"}, SECRET),
        (BODY, {**signed, "webhook-timestamp": str(NOW_S + 1)}, SECRET),
        (BODY, {**signed, "webhook-signature": "v1,AAAA"}, SECRET),
        (BODY, {**signed, "webhook-signature": "v1,\u00e9"}, SECRET),
        (BODY, {**signed, "webhook-signature": signed["webhook-signature"][3:]}, SECRET),
        (BODY, {**signed, "webhook-signature": "v2" + signed["webhook-signature"][2:]}, SECRET),
        (BODY, signed, OTHER),
        (BODY, signed, []),
    ):
        with pytest.raises(SignatureInvalid):
            verify(body, given, secret, now_ms=now_ms)


@pytest.mark.req("EVT-4")
@pytest.mark.parametrize("away_ms", [-300_001, 300_001])
def test_an_old_or_future_request_is_refused_though_its_signature_fits(away_ms: int) -> None:
    signed = headers([SECRET], "msg_1", NOW_S, BODY)
    with pytest.raises(TimestampOutside):
        verify(BODY, signed, SECRET, now_ms=NOW_S * 1000 + away_ms)
    inside = away_ms // 300_001 * 300_000
    assert verify(BODY, signed, SECRET, now_ms=NOW_S * 1000 + inside)
    assert verify(BODY, signed, SECRET, now_ms=NOW_S * 1000 + away_ms, tolerance_ms=400_000)


@pytest.mark.req("EVT-4")
@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_request_without_one_of_the_headers_is_no_webhook(missing: str) -> None:
    signed = headers([SECRET], "msg_1", NOW_S, BODY)
    del signed[missing]
    with pytest.raises(HeaderMissing):
        verify(BODY, signed, SECRET, now_ms=NOW_S * 1000)
    with pytest.raises(HeaderMissing):
        verify(BODY, {**signed, missing: "x"} | {"webhook-timestamp": "soon"}, SECRET)


@pytest.mark.req("EVT-4")
def test_retries_follow_the_schedule_and_end() -> None:
    failed = Answered(500, "answered 500")
    plan = [next_of(failed, tries=n, chance=0) for n in range(10)]
    assert plan == [*(Next("again", delay) for delay in RETRY_DELAYS_MS), Next("dead")]
    assert [delay // 1000 for delay in RETRY_DELAYS_MS] == [
        5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400,
    ]  # fmt: skip
    assert next_of(failed, tries=1, chance=1) == Next("again", 330_000)


@pytest.mark.req("EVT-4")
@pytest.mark.parametrize(
    ("answered", "verdict", "delay_ms"),
    [
        (Answered(200, None), "delivered", 0),
        (Answered(204, None), "delivered", 0),
        (Answered(301, "answered 301"), "again", 5_000),
        (Answered(404, "answered 404"), "again", 5_000),
        (Answered(410, "answered 410"), "dead", 0),
        (Answered(429, "answered 429", 60_000), "again", 60_000),
        (Answered(503, "answered 503", 1_000), "again", 5_000),
        (Answered(503, "answered 503", 10**12), "again", 86_400_000),
        (Answered(500, "answered 500", 60_000), "again", 5_000),
        (Answered(None, "no answer in time"), "again", 5_000),
    ],
)
def test_each_answer_has_its_consequence(answered: Answered, verdict: str, delay_ms: int) -> None:
    following = next_of(answered, tries=0, chance=0)
    assert (following.verdict, following.delay_ms) == (verdict, delay_ms)
    assert bool(following.off) == (answered.status == 410)


@pytest.mark.parametrize(
    ("text", "ms"),
    [("0", 0), ("7", 7_000), (None, None), ("", None), ("-1", None), ("1.5", None), ("9" * 10, None),
     ("\u0661", None), ("Wed, 21 Oct 2015 07:28:00 GMT", None)],
)  # fmt: skip
def test_seconds_are_read_and_nothing_else(text: str | None, ms: int | None) -> None:
    assert retry_after_ms(text) == ms


@pytest.mark.req("EVT-4")
def test_an_id_names_hook_job_and_event_and_has_no_dot() -> None:
    ids = {
        delivery_id(hook, member)
        for hook in ("t:wh_1", "t:wh_2")
        for member in ("c:5:1:a.b", "c:6:1:a.b", "c:5:2:a.b", "c:5:1:a.c")
    }
    assert len(ids) == 8
    assert all(one.startswith("msg_") and "." not in one for one in ids)
    event = posted("b:7:1700:a.b-c")
    assert (event.type, event.seq, event.at_ms, event.job_id) == ("job.blocked", 7, 1700, "a.b-c")


@pytest.mark.parametrize(
    ("state", "payload", "said"),
    [
        (State.COMPLETED, {"outcome": "done", "reason": "completed"}, ("done", "completed")),
        (State.FAILED, {"last": "logic", "reason": "not_retried"}, ("logic", "not_retried")),
        (State.CANCELED, {"reason": "canceled"}, ("canceled", "canceled")),
        (State.CANCELED, {"reason": "evicted"}, ("canceled", "evicted")),
        (State.EXPIRED, {"reason": "deadline"}, ("expired", "deadline")),
        (State.BLOCKED, {"outcome": "human", "block_reason": "approval"}, (None, "approval")),
    ],
)
def test_each_ending_says_its_outcome_and_reason(
    state: State, payload: dict[str, str], said: tuple[str | None, str]
) -> None:
    assert fields_of_ending(state, payload) == said
