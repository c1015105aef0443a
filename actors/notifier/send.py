"""One signed request to somebody else's server: resolved once, checked, and sent to the checked address.

The address stands in the URL, the name in Host and in the TLS handshake: between the check and the connection
nobody asks a resolver again. No redirects, no proxies of the environment, no cookies.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias

import anyio
import httpx2

from contracts.limits import WEBHOOK_ANSWER_BYTES_MAX
from contracts.webhooks import CONNECT_MS, TOTAL_MS
from orch import __version__
from orch.core.targets import Address, Target, may_connect, refusal, target_of
from orch.core.webhooks import Answered, retry_after_ms

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Addresses of a host, as texts."""

ADDRESSES_TRIED_MAX = 2
_HEADERS = {
    "content-type": "application/json",
    "user-agent": f"orch/{__version__}",
    "accept-encoding": "identity",
}


async def resolve(host: str, port: int) -> list[str]:
    """The host's own resolver."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Sender:
    """Sends to hosts that the settings allow."""

    def __init__(
        self,
        allowed: Sequence[str],
        *,
        resolver: Resolve = resolve,
        total_ms: int = TOTAL_MS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allowed = tuple(allowed)
        self._resolve = resolver
        self._total_ms = total_ms
        self._tls = tls or ssl.create_default_context()

    @asynccontextmanager
    async def connections(self) -> AsyncIterator[httpx2.AsyncClient]:
        """For the deliveries of one webhook: a connection is kept for its next one, never for another's."""
        timeout = httpx2.Timeout(self._total_ms / 1000, connect=CONNECT_MS / 1000)
        async with httpx2.AsyncClient(
            verify=self._tls, trust_env=False, follow_redirects=False, timeout=timeout
        ) as client:
            yield client

    async def send(
        self, client: httpx2.AsyncClient, url: str, headers: Mapping[str, str], body: bytes
    ) -> Answered:
        """One try, within its time; never raises for what the other side does."""
        with anyio.move_on_after(self._total_ms / 1000):
            try:
                return await self._tried(client, url, headers, body)
            except httpx2.TimeoutException:
                return Answered(None, "no answer in time")
            except (httpx2.HTTPError, ssl.SSLError, OSError) as error:
                # Its kind, never its words: they may repeat what was sent.
                return Answered(None, f"not sent: {_kind(error)}")
        return Answered(None, "no answer in time")

    async def _tried(
        self, client: httpx2.AsyncClient, url: str, headers: Mapping[str, str], body: bytes
    ) -> Answered:
        target = target_of(url)
        if isinstance(target, str):
            return Answered(None, f"url {target}")
        no = refusal(target, self._allowed)
        if no is not None:
            return Answered(None, no)
        addresses = await self._addresses(target)
        if not addresses:
            return Answered(None, f"{target.host} has no address")
        # All of them: who controls a name could else mix an inner address among public ones.
        if not all(may_connect(target, one, self._allowed) for one in addresses):
            return Answered(None, f"{target.host} resolves to an address that is not public")
        for address in addresses[: ADDRESSES_TRIED_MAX - 1]:
            try:
                return await self._post(client, url, target, address, headers, body)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                if len(addresses) == 1:
                    raise
        return await self._post(client, url, target, addresses[-1], headers, body)

    async def _addresses(self, target: Target) -> list[Address]:
        if target.address is not None:
            return [target.address]
        try:
            found = await self._resolve(target.host, target.port)
        except OSError:
            return []
        # A scope (`fe80::1%eth0`) belongs to an address that is never public.
        return [ipaddress.ip_address(text.partition("%")[0]) for text in found]

    async def _post(
        self,
        client: httpx2.AsyncClient,
        url: str,
        target: Target,
        address: Address,
        headers: Mapping[str, str],
        body: bytes,
    ) -> Answered:
        original = httpx2.URL(url)
        at = original.copy_with(host=str(address))
        name = original.netloc.decode("ascii")
        request = client.build_request(
            "POST",
            at,
            content=body,
            headers={**_HEADERS, **headers, "host": name},
            extensions={**_timeouts(client), "sni_hostname": target.host.rstrip(".")},
        )
        response = await client.send(request, stream=True)
        try:
            await _drain(response)
            wait_ms = retry_after_ms(response.headers.get("retry-after"))
            status = response.status_code
            error = None if response.is_success else f"answered {status}"
            return Answered(status, error, wait_ms)
        finally:
            await response.aclose()


def _timeouts(client: httpx2.AsyncClient) -> dict[str, object]:
    return {"timeout": client.timeout.as_dict()}


async def _drain(response: httpx2.Response) -> None:
    """A short answer is read, so that the connection can be kept; a long one is left."""
    read = 0
    async for piece in response.aiter_raw(WEBHOOK_ANSWER_BYTES_MAX):
        read += len(piece)
        if read > WEBHOOK_ANSWER_BYTES_MAX:
            return


def _kind(error: BaseException) -> str:
    return type(error).__name__
