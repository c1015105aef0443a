"""Where a gateway may listen: address, tokens, TLS and plaintext in all combinations, by real processes."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from actors.listening import check_listener
from contracts.errors import Refused, Unavailable
from orch.client import Endpoint, OrchSync, calls
from orch.settings import settings_of
from orch.store.embedded import private_server
from tests.actors.gateway.process import TLS, body_of, gateway, status_of

TOKENS, PLAIN = ("--set", "auth=tokens"), ("--set", "plaintext=true")
CERT, KEY = f"tls_cert={TLS / 'cert.pem'}", f"tls_key={TLS / 'key.pem'}"
WITH_TLS = ("--set", CERT, "--set", KEY)
EVERYWHERE = ("--set", "host=0.0.0.0")


@pytest.fixture
async def redis_url(tmp_path: Path) -> AsyncIterator[str]:
    async with private_server(tmp_path / "server", appendfsync="no") as server:
        yield server.url


REFUSED = {
    "everywhere": (EVERYWHERE, "host", "auth = tokens"),
    "everywhere, plaintext": ((*EVERYWHERE, *PLAIN), "host", "auth = tokens"),
    "everywhere, TLS": ((*EVERYWHERE, *WITH_TLS), "host", "auth = tokens"),
    "everywhere, tokens": ((*EVERYWHERE, *TOKENS), "host", "tls_cert and tls_key, or plaintext"),
    "an address of the network": (("--set", "host=192.0.2.1"), "host", "auth = tokens"),
    "a name": ((*TOKENS, *PLAIN, "--set", "host=orch.example"), "host", "IP address"),
    "a certificate without a key": (("--set", CERT), "tls_cert", "tls_key"),
    "a key without a certificate": (("--set", KEY), "tls_key", "tls_cert"),
    "a certificate that is none": (
        ("--set", f"tls_cert={__file__}", "--set", KEY),
        "tls_cert",
        "PEM",
    ),
    "a certificate that is not there": (
        ("--set", "tls_cert=/nowhere", "--set", KEY),
        "tls_cert",
        "No such file",
    ),
    "a word that is no way to authenticate": (("--set", "auth=maybe"), "auth", "none, tokens"),
}


@pytest.mark.req("API-4", "CFG-2")
@pytest.mark.parametrize("what", REFUSED)
async def test_it_refuses_to_start_and_says_what_to_set(what: str, tmp_path: Path) -> None:
    words, key, advice = REFUSED[what]
    async with gateway(tmp_path, "unix:///nowhere", *words) as process:
        assert process.address is None
        assert process.code == 6, process.log
        assert "INVALID_CONFIG: " in process.log
        assert key in process.log
        assert advice in process.log


@pytest.mark.req("API-4")
def test_a_socket_that_was_handed_in_is_judged_by_its_own_address() -> None:
    with socket.create_server(("0.0.0.0", 0)) as everywhere:
        for values, advice in (
            ({}, "auth = tokens"),
            ({"plaintext": True}, "auth = tokens"),
            ({"auth": "tokens"}, "tls_cert and tls_key, or plaintext"),
        ):
            with pytest.raises(Refused, match=advice):
                check_listener(everywhere, settings_of(values))
        check_listener(everywhere, settings_of({"auth": "tokens", "plaintext": True}))


LISTENS = {
    "loopback": ((), False, 200),
    "loopback, tokens": (TOKENS, False, 401),
    "loopback, TLS": (WITH_TLS, True, 200),
    "everywhere, tokens, plaintext": ((*EVERYWHERE, *TOKENS, *PLAIN), False, 401),
    "everywhere, tokens, TLS": ((*EVERYWHERE, *TOKENS, *WITH_TLS), True, 401),
}


@pytest.mark.req("API-4")
@pytest.mark.parametrize("what", LISTENS)
async def test_it_listens_and_asks_for_tokens_where_it_was_told_to(
    what: str, tmp_path: Path, redis_url: str
) -> None:
    words, tls, status = LISTENS[what]
    async with gateway(tmp_path / "home", redis_url, *words) as process:
        assert process.address is not None, process.log
        close = "Connection: close"
        alive = await process.knock(process.head("GET /livez", close), tls=tls)
        asked = await process.knock(process.head("GET /v1/jobs", close), tls=tls)

        assert (status_of(alive), status_of(asked)) == (200, status)
        if status == 401:
            assert body_of(asked)["code"] == "UNAUTHENTICATED"
    assert process.code == 0


def spoken(endpoint: Endpoint) -> object:
    with OrchSync(endpoint) as client:
        return client.run(calls.live())


@pytest.mark.req("API-4", "CLI-2")
async def test_a_client_that_knows_the_certificate_trusts_it_and_no_other(
    tmp_path: Path, redis_url: str
) -> None:
    async with gateway(tmp_path / "home", redis_url, *WITH_TLS) as process:
        url = f"https://127.0.0.1:{process.reached_at[1]}"
        known = Endpoint(url, cert=str(TLS / "cert.pem"))
        assert await anyio.to_thread.run_sync(spoken, known) == {"live": True}
        for stranger in (Endpoint(url), Endpoint(url, cert=str(TLS / "other.pem"))):
            with pytest.raises(Unavailable):
                await anyio.to_thread.run_sync(spoken, stranger)


@pytest.mark.req("API-4")
async def test_names_that_the_operator_allowed_may_be_in_host(
    tmp_path: Path, redis_url: str
) -> None:
    words = ("--set", "allowed_hosts=Orch.Example")
    async with gateway(tmp_path / "home", redis_url, *words) as process:
        for host, status in (
            ("orch.example", 200),
            ("orch.example:443", 200),
            ("evil.example", 403),
        ):
            head = f"GET /livez HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            assert status_of(await process.knock(head.encode())) == status, host
