"""URLs that lead to a server: what they say, and which are refused."""

from __future__ import annotations

import pytest

from contracts.errors import ErrorCode, Refused
from orch.addresses import Address, Seed, address_of
from orch.settings import settings_of
from orch.values import without_password


@pytest.mark.req("DEP-2")
@pytest.mark.parametrize("url", ["redis://h:1/0", "rediss://u:p@h", "unix:///s"])
def test_a_url_that_names_its_server_leads_nowhere_else(url: str) -> None:
    assert address_of(url) is None


@pytest.mark.req("DEP-2")
@pytest.mark.parametrize(
    ("url", "address"),
    [
        (
            "redis+sentinel://a,b:7,[::1]:8/main",
            Address("sentinel", (Seed("a", 26379), Seed("b", 7), Seed("::1", 8)), "redis://a:26379", "main"),
        ),
        (
            "rediss+sentinel://u:p%40@a/main?ssl_ca_certs=/ca&sentinel_password=s",
            Address(
                "sentinel", (Seed("a", 26379),), "rediss://u:p%40@a:26379?ssl_ca_certs=%2Fca", "main",
                {"password": "s"},
            ),
        ),
        (
            "redis+cluster://u:p%40@a:1,b",
            Address(
                "cluster", (Seed("a", 1), Seed("b", 6379)), "redis://u:p%40@a:1", "",
                {"username": "u", "password": "p@"},
            ),
        ),
    ],
)  # fmt: skip
def test_a_url_that_leads_says_whom_to_ask_and_how(url: str, address: Address) -> None:
    assert address_of(url) == address
    assert settings_of({"redis_url": url}).redis_url == url


@pytest.mark.req("DEP-2", "CFG-2")
@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://a",
        "redis+sentinel:///main",
        "redis+cluster://a:0",
        "redis+cluster://a:x",
        "redis+cluster://a,,b",
        "redis+nobody://a",
        "unix+cluster://a",
    ],
)
def test_a_url_that_leads_nowhere_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        address_of(url)
    with pytest.raises(Refused) as refused:
        settings_of({"redis_url": url})
    assert refused.value.code is ErrorCode.INVALID_CONFIG


@pytest.mark.req("DEP-2", "SEC-2")
def test_no_password_of_a_url_is_shown() -> None:
    url = "redis+sentinel://u:hunter2@a,b:7/main?sentinel_password=hunter2&db=0"
    shown = "redis+sentinel://u:***@a,b:7/main?sentinel_password=***&db=0"
    assert without_password(url) == shown
    assert without_password(url.replace("u:hunter2@", "")) == shown.replace("u:***@", "")
