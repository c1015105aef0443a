"""How long a follower goes on after its gateway has gone (EVT-2)."""

from __future__ import annotations

import pytest

from contracts.errors import ErrorCode, Unavailable
from orch.client.frames import LIVED_MS, RETRIES_MAX, Follow


@pytest.mark.req("EVT-2")
def test_a_follower_whose_gateway_never_comes_back_gives_up_however_long_it_had_listened() -> None:
    follow, now_ms = Follow(), 0
    gone = Unavailable(ErrorCode.UNAVAILABLE, "nobody answers")
    follow.opened(now_ms)
    now_ms += 10 * LIVED_MS
    for _ in range(RETRIES_MAX):
        now_ms += LIVED_MS + follow.lost(now_ms, gone)
    with pytest.raises(Unavailable, match="broke 10 times in a row"):
        follow.lost(now_ms, gone)


@pytest.mark.req("EVT-2")
def test_a_connection_that_stood_long_wipes_out_the_failures_before_it() -> None:
    follow = Follow()
    follow.opened(0)
    first_ms = follow.lost(0, None)
    assert follow.lost(0, None) > first_ms
    follow.opened(0)
    assert follow.lost(LIVED_MS, None) == first_ms
