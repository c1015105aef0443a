"""The way out: to the address that was checked, under the name that was meant, and no further."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Sequence

import pytest

from actors.notifier.send import Sender
from orch.core.webhooks import Answered
from tests.actors.receiver import PEM, Receiver, receiving

LOOPBACK = ("127.0.0.0/8",)


class Resolver:
    """Answers in turn, the last answer for ever; counts."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


async def send(sender: Sender, url: str, body: bytes = b"{}") -> Answered:
    async with sender.connections() as client:
        return await sender.send(client, url, {"webhook-id": "msg_1"}, body)


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(PEM))


@pytest.mark.req("EVT-4")
async def test_a_request_has_its_name_in_host_and_handshake_and_goes_to_the_checked_address() -> (
    None
):
    resolver = Resolver(["127.0.0.1"])
    with receiving(tls=True) as receiver:
        sender = Sender(LOOPBACK, resolver=resolver, tls=trusting())
        answered = await send(sender, f"https://receiver.example:{receiver.port}/a?b=c", b'{"x":1}')
    assert answered == Answered(200, None)
    (got,) = receiver.got
    assert (got.path, got.body) == ("/a?b=c", b'{"x":1}')
    assert got.headers["host"] == f"receiver.example:{receiver.port}"
    assert got.headers["content-type"] == "application/json"
    assert receiver.names == ["receiver.example"]
    assert resolver.asked == ["receiver.example"]


@pytest.mark.req("EVT-4")
async def test_a_certificate_for_another_name_is_not_accepted() -> None:
    with receiving(tls=True) as receiver:
        sender = Sender(LOOPBACK, resolver=Resolver(["127.0.0.1"]), tls=trusting())
        answered = await send(sender, f"https://other.example:{receiver.port}/")
    assert (answered.status, receiver.got) == (None, [])
    assert answered.error is not None


@pytest.mark.req("EVT-4")
async def test_a_name_that_is_bound_anew_between_check_and_connection_gains_nothing() -> None:
    with (
        receiving(address="127.0.0.2") as meant,
        receiving(address="127.0.0.3", port=meant.port) as inner,
    ):
        resolver = Resolver(["127.0.0.2"], ["127.0.0.3"])
        sender = Sender(("127.0.0.2/32",), resolver=resolver)
        first = await send(sender, f"http://rebind.example:{meant.port}/")
        second = await send(sender, f"http://rebind.example:{meant.port}/")
    assert first.status == 200
    assert (second.status, len(meant.got), inner.got) == (None, 1, [])
    assert resolver.asked == ["rebind.example", "rebind.example"], "once for each try"


@pytest.mark.req("EVT-4")
@pytest.mark.parametrize("order", [["127.0.0.2", "127.0.0.3"], ["127.0.0.3", "127.0.0.2"]])
async def test_one_inner_address_among_the_answers_closes_all(order: list[str]) -> None:
    with receiving(address="127.0.0.2") as meant:
        sender = Sender(("127.0.0.2/32",), resolver=Resolver(order))
        answered = await send(sender, f"http://mixed.example:{meant.port}/")
    assert (answered.status, meant.got) == (None, [])
    assert "not public" in (answered.error or "")


@pytest.mark.req("EVT-4")
async def test_nothing_is_sent_to_an_inner_address_that_nobody_allowed(receiver: Receiver) -> None:
    answered = await send(Sender(()), receiver.url)
    assert (answered.status, receiver.got) == (None, [])


@pytest.mark.req("EVT-4")
async def test_a_redirect_is_an_answer_and_not_followed(receiver: Receiver) -> None:
    with receiving() as secret:
        receiver.answers = [(302, {"location": secret.url}, b"")]
        answered = await send(Sender(LOOPBACK), receiver.url)
    assert answered == Answered(302, "answered 302")
    assert secret.got == []


@pytest.mark.req("EVT-4")
async def test_a_proxy_of_the_environment_is_not_asked(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert (await send(Sender(LOOPBACK), receiver.url)).status == 200
    assert proxy.got == []


@pytest.mark.req("EVT-4")
async def test_a_receiver_that_does_not_answer_is_left_in_time(receiver: Receiver) -> None:
    receiver.gate.clear()
    answered = await send(Sender(LOOPBACK, total_ms=200), receiver.url)
    assert answered == Answered(None, "no answer in time")


@pytest.mark.req("EVT-4")
async def test_a_long_answer_is_not_read_to_its_end(receiver: Receiver) -> None:
    receiver.answers = [(200, {}, b"x" * 50_000_000)]
    assert (await send(Sender(LOOPBACK), receiver.url)).status == 200


@pytest.mark.req("EVT-4")
async def test_a_receiver_that_says_when_to_come_back_is_heard(receiver: Receiver) -> None:
    receiver.answers = [(503, {"retry-after": "120"}, b"")]
    assert await send(Sender(LOOPBACK), receiver.url) == Answered(503, "answered 503", 120_000)


@pytest.mark.req("EVT-4", "SEC-1")
async def test_a_failure_says_nothing_of_what_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    answered = await send(Sender(LOOPBACK), f"http://127.0.0.1:{port}/?token=canary", b"canary")
    assert answered == Answered(None, "not sent: ConnectError")


@pytest.mark.req("EVT-4")
async def test_a_name_without_an_address_is_a_failed_try() -> None:
    class Nobody(Resolver):
        async def __call__(self, host: str, port: int) -> Sequence[str]:
            raise socket.gaierror(-2, "Name or service not known")

    answered = await send(Sender((), resolver=Nobody()), "https://nowhere.example/")
    assert answered == Answered(None, "nowhere.example has no address")
