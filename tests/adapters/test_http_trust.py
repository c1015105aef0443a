"""What an `http` job never does: tell a secret, follow a stranger, trust a bad certificate, ask a proxy."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from contracts.outcomes import Outcome, ReasonCode
from orch.adapters.http import HttpAdapter
from orch.adapters.http_hosts import Hosts
from orch.adapters.http_secrets import Blotter
from orch.system import SystemClock
from tests.adapters.endpoint import PATIENCE_S, Endpoint, Line, document, plain, says

pytestmark = pytest.mark.req("RUN-1")

CANARY = "sk-canary-0123456789"


def ways(ending: Any) -> tuple[Outcome, ReasonCode]:
    return ending.outcome, ending.reason


def with_terms(bench: Any, **terms: Any) -> HttpAdapter:
    """An adapter whose operator chose these terms."""
    bench.workshop = replace(bench.workshop, **terms)
    return HttpAdapter(bench.workshop)


@contextmanager
def one_visit(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port that serves one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.settimeout(PATIENCE_S)
                serve(sock)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(PATIENCE_S)


async def test_what_speaks_no_tls_is_the_environments_fault(bench: Any) -> None:
    bench.leases.confirm(SystemClock().monotonic_ms(), 60_000)

    def no_tls(sock: socket.socket) -> None:
        sock.recv(4096)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with one_visit(no_tls) as port:
        ending = await bench.run("http", url=f"https://127.0.0.1:{port}/")
    assert ways(ending) == (Outcome.ENVIRONMENT, ReasonCode.TLS)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
async def test_a_certificate_that_nobody_signed_is_refused_before_anything_is_sent(
    bench: Any, tmp_path: Path
) -> None:
    bench.leases.confirm(SystemClock().monotonic_ms(), 60_000)
    files = [str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1"]
    await anyio.run_process([*made, "-keyout", files[0], "-out", files[1]])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[1], files[0])
    got: list[bytes] = []

    def listen(sock: socket.socket) -> None:
        try:
            got.append(context.wrap_socket(sock, server_side=True).recv(10))
        except OSError:
            return

    with one_visit(listen) as port:
        ending = await bench.run("http", url=f"https://127.0.0.1:{port}/")
    assert ways(ending) == (Outcome.ENVIRONMENT, ReasonCode.TLS)
    assert b"".join(got) == b""


async def test_redirects_are_followed_on_the_same_host_and_take_the_request_along(
    bench: Any, endpoint: Endpoint
) -> None:
    url = endpoint.plays(plain(b"", 307, Location="/elsewhere?a=1"), document({"at": "last"}))
    ending = await bench.run("http", url=url, body="hello", headers={"X-Mine": "1"})
    assert ending.result["json"] == {"at": "last"}
    assert [(a.method, a.path, a.body, a.headers["x-mine"]) for a in endpoint.asked] == [
        ("POST", "/v1/chat", b"hello", "1"),
        ("POST", "/elsewhere?a=1", b"hello", "1"),
    ]
    endpoint.plays(plain(b"", 308, Location=url))
    ending = await bench.run("http", url=url)
    assert "more than 5 redirects" in ending.message


@pytest.mark.parametrize(
    ("status", "location"),
    [
        (307, "http://localhost:{port}/"),
        (307, "http://127.0.0.1:1/"),
        (307, "https://127.0.0.1:{port}/"),
        (307, "ftp://x"),
        (303, "/see"),
    ],
)
async def test_a_redirect_to_a_stranger_or_to_another_kind_of_request_is_not_followed(
    bench: Any, endpoint: Endpoint, status: int, location: str
) -> None:
    url = endpoint.plays(plain(b"", status, Location=location.format(port=endpoint.port)))
    ending = await bench.run("http", url=url)
    assert ways(ending) == (Outcome.LOGIC, ReasonCode.HTTP_STATUS)
    assert len(endpoint.asked) == 1


async def test_a_cookie_of_one_job_is_not_sent_by_the_next(bench: Any, endpoint: Endpoint) -> None:
    url = endpoint.plays(document({}, Set_Cookie="who=me"))
    await bench.run("http", url=url)
    await bench.run("http", url=url)
    assert ["cookie" in asked.headers for asked in endpoint.asked] == [False, False]


async def test_a_proxy_of_the_environment_is_not_used(
    bench: Any, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert (await bench.run("http", url=endpoint.plays(document(1)))).outcome is Outcome.DONE


def echo(line: Line) -> None:
    sent = line.asked.headers["authorization"].encode()
    line.head(Content_Type="text/plain", X_Echo=sent.decode())
    half = len(sent) - 6
    line.send(b"you sent ", sent[:half])
    line.send(sent[half:] + b"!")


def misname(line: Line) -> None:
    """In a header that cannot be right."""
    line.head(Content_Encoding=line.asked.headers["authorization"])


def refuse(line: Line) -> None:
    plain(line.asked.headers["authorization"].encode(), 401)(line)


def refuse_at_length(line: Line) -> None:
    """With the secret where what is kept of a refusal ends."""
    told = line.asked.headers["authorization"].encode()
    plain(b"x" * (8 * 1024 - len(told) + 5) + told, 500)(line)


@pytest.mark.req("SEC-2")
async def test_a_secret_goes_into_the_request_and_nowhere_else(
    bench: Any, endpoint: Endpoint, capfd: pytest.CaptureFixture[str]
) -> None:
    adapter = with_terms(bench, http_env={"KEY": CANARY, "BAD": "line\nbreak-secret"})
    secret = {"Authorization": "KEY"}
    scripts = (echo, refuse, misname, refuse_at_length)
    run = bench.job("http", url=endpoint.plays(*scripts), secret_headers=secret)
    done = await adapter.run(run, bench.desk)
    refused = await adapter.run(run, bench.desk)
    misnamed = await adapter.run(run, bench.desk)
    cut = await adapter.run(run, bench.desk)
    assert [a.headers["authorization"] for a in endpoint.asked] == [f"Bearer {CANARY}"] * 4
    assert set(bench.desk.entries[-1][1]) == {"x"}
    assert ways(misnamed) == (Outcome.LOGIC, ReasonCode.ANSWER)
    assert done.result["text"] == "you sent ***!"
    assert refused.message == "status 401: ***"
    bad = bench.job("http", url=endpoint.url, secret_headers={"X-Key": "BAD"})
    unsent = await adapter.run(bad, bench.desk)
    assert ways(unsent) == (Outcome.ENVIRONMENT, ReasonCode.BAD_CONFIG)
    await adapter.aclose()
    told = repr(
        (done, refused, misnamed, cut, unsent, bench.desk, run, bench.workshop, capfd.readouterr())
    )
    assert CANARY[:8] not in told
    assert "break-secret" not in told
    assert len(endpoint.asked) == 4


@pytest.mark.req("SEC-2")
async def test_a_variable_that_the_operator_did_not_allow_is_not_sent(
    bench: Any, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", CANARY)
    url = endpoint.plays(document({}))
    ending = await bench.run("http", url=url, secret_headers={"X-Key": "SOME_KEY"})
    assert ways(ending) == (Outcome.ENVIRONMENT, ReasonCode.BAD_CONFIG)
    assert endpoint.asked == []


@pytest.mark.req("SEC-2")
@pytest.mark.parametrize("cut", range(1, 12))
def test_a_secret_is_struck_out_wherever_it_is_cut(cut: int) -> None:
    told = b"a secret-x secret-xy se secret- secret-xsecret-x s"
    blotter = Blotter((b"secret-xy", b"secret-x"))
    parts = [blotter.feed(told[n : n + cut]) for n in range(0, len(told), cut)]
    assert b"secret-x" not in b"".join(parts) + blotter.rest()


@pytest.mark.req("SEC-2")
async def test_a_secret_is_struck_out_as_json_writes_it_too(bench: Any, endpoint: Endpoint) -> None:
    secret = 'sk/with"quotes+and&more'
    adapter = with_terms(bench, http_env={"KEY": secret})
    written = [json.dumps(secret), json.dumps(secret).replace("/", "\\/")]
    written += [json.dumps(secret).replace("+", "\\u002b").replace("&", "\\u0026")]
    for form in written:
        assert json.loads(form) == secret
        url = endpoint.plays(says(f'{{"error": {form}}}'))
        run = bench.job("http", url=url, secret_headers={"X-Key": "KEY"})
        ending = await adapter.run(run, bench.desk)
        assert ending.message.endswith(": ***")
    await adapter.aclose()


@pytest.mark.parametrize(
    ("allowed", "host", "address", "verdict"),
    [
        ("*", "anything", "10.0.0.1", (True, True)),
        ("api.example.com", "API.example.com.", "8.8.8.8", (True, True)),
        ("api.example.com", "other.example.com", "8.8.8.8", (False, True)),
        ("*.example.com", "a.example.com", "10.0.0.1", (True, False)),
        ("*.example.com", "a.example.com", "169.254.169.254", (True, False)),
        ("*.example.com", "a.example.com", "::ffff:127.0.0.1", (True, False)),
        ("*.example.com", "a.example.com", "64:ff9b::7f00:1", (True, False)),
        ("*.example.com", "a.example.com", "64:ff9b::808:808", (True, True)),
        # Global for `ipaddress`, and yet no public address.
        ("*.example.com", "a.example.com", "::10.0.0.1", (True, False)),
        ("*.example.com", "a.example.com", "192.88.99.1", (True, False)),
        ("*.example.com", "a.example.com", "fec0::1", (True, False)),
        ("*.example.com", "a.example.com.evil.org", "8.8.8.8", (False, True)),
        ("*.example.com 10.0.0.0/8", "a.example.com", "10.9.9.9", (True, True)),
        ("10.0.0.0/8", "10.1.2.3", "10.1.2.3", (True, True)),
        ("10.0.0.0/8", "11.1.2.3", "11.1.2.3", (False, True)),
        ("::1", "[::1]", "::1", (True, True)),
    ],
)
def test_hosts_are_judged_by_name_and_by_address(
    allowed: str, host: str, address: str, verdict: tuple[bool, bool]
) -> None:
    from ipaddress import ip_address

    hosts = Hosts(allowed.split())
    judged = ip_address(address)
    judged = getattr(judged, "ipv4_mapped", None) or judged
    assert (hosts.permits(host), hosts.permits_address(judged)) == verdict


@pytest.mark.parametrize(
    ("allowed", "host", "outcome"),
    [
        (("localhost",), "localhost", Outcome.ENVIRONMENT),
        (("localhost", "127.0.0.0/8", "::1"), "localhost", Outcome.DONE),
        (("127.0.0.1",), "127.0.0.1", Outcome.DONE),
        (("127.0.0.1",), "localhost", Outcome.ENVIRONMENT),
        (("10.0.0.0/8",), "0x7f.1", Outcome.ENVIRONMENT),
    ],
)
async def test_a_host_outside_the_setting_is_never_called(
    bench: Any, endpoint: Endpoint, allowed: tuple[str, ...], host: str, outcome: Outcome
) -> None:
    adapter = with_terms(bench, http_hosts=allowed)
    endpoint.plays(document({}))
    run = bench.job("http", url=f"http://{host}:{endpoint.port}/")
    ending = await adapter.run(run, bench.desk)
    await adapter.aclose()
    assert ending.outcome is outcome
    assert (ending.reason is ReasonCode.HOST_DENIED) == (outcome is Outcome.ENVIRONMENT)
    assert len(endpoint.asked) == int(outcome is Outcome.DONE)
