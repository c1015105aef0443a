"""What goes out: one request, made from a job's config, this attempt's claim and the runner's secrets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urljoin

import httpcore2
import orjson
from pydantic import AnyHttpUrl, ValidationError

import orch
from contracts.adapters import HttpConfig
from contracts.outcomes import Outcome, ReasonCode
from orch.adapters.http_outcomes import AnswerFault
from orch.adapters.http_secrets import header_value, secret_parts
from orch.adapters.protocol import Run
from orch.adapters.workshop import Workshop

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Call:
    """One request. Its headers may hold secrets: it is never shown."""

    method: str
    url: AnyHttpUrl
    headers: Headers
    content: bytes | None
    secrets: tuple[bytes, ...]
    connect_s: float

    def __repr__(self) -> str:
        """Neither headers nor body."""
        return f"Call({self.method})"

    @property
    def host(self) -> str:
        """The name or address that is called."""
        return (self.url.host or "").strip("[]")

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port."""
        return self.url.scheme, self.host, self.url.port or 0

    @property
    def target(self) -> httpcore2.URL:
        """As the wire takes it."""
        path = self.url.path or "/"
        query = f"?{self.url.query}" if self.url.query is not None else ""
        return httpcore2.URL(
            scheme=self.url.scheme.encode(),
            host=self.host.encode(),
            port=self.url.port,
            target=(path + query).encode(),
        )

    def lines(self) -> list[tuple[bytes, bytes]]:
        """All headers, ours first."""
        scheme, _, port = self.origin
        name = self.url.host or ""
        host = name if port == {"http": 80, "https": 443}[scheme] else f"{name}:{port}"
        size = () if self.content is None else (("Content-Length", str(len(self.content))),)
        pairs = (("Host", host), *size, *self.headers)
        return [(key.encode("ascii"), value.encode("ascii")) for key, value in pairs]

    def redirected(self, status: int, location: str | None) -> Call | None:
        """The request that a redirect asks for; None when it is no redirect.

        Raises:
            AnswerFault: it leads to another host, or would turn the request into another one.
        """
        if status not in {301, 302, 303, 307, 308} or location is None:
            return None
        try:
            url = AnyHttpUrl(urljoin(str(self.url), location))
        except (ValidationError, ValueError):
            raise _not_followed(status, "it names no URL") from None
        onward = replace(self, url=url)
        if onward.origin != self.origin:
            raise _not_followed(status, "it leads to another host")
        if status < 307 and self.method != "GET":
            raise _not_followed(status, f"it would turn a {self.method} into a GET")
        return onward


def _not_followed(status: int, why: str) -> AnswerFault:
    message = f"status {status}: the redirect is not followed, for {why}"
    return AnswerFault(Outcome.LOGIC, ReasonCode.HTTP_STATUS, message)


def call_for(run: Run, config: HttpConfig, workshop: Workshop) -> Call:
    """The request of this attempt.

    Raises:
        AnswerFault: it needs a variable that this runner does not give.
    """
    secret = {
        name: header_value(name, variable, workshop.http_env)
        for name, variable in config.secret_headers.items()
    }
    return Call(
        method=config.method,
        url=AnyHttpUrl(config.url),
        headers=_headers(run, config, secret),
        content=_content(config),
        secrets=secret_parts(secret.values()),
        connect_s=config.connect_ms / 1000,
    )


def _content(config: HttpConfig) -> bytes | None:
    if config.has_document:
        return orjson.dumps(config.document)
    if config.body is not None:
        return config.body.encode()
    return None if config.method == "GET" else b""


def _headers(run: Run, config: HttpConfig, secret: dict[str, str]) -> Headers:
    chosen = {**config.headers, **secret}
    usual = {
        "User-Agent": f"orch/{orch.__version__}",
        "Accept": "text/event-stream, application/json, */*",
        **({"Content-Type": "application/json"} if config.has_document else {}),
    }
    if run.traceparent is not None:
        usual["traceparent"] = run.traceparent
    named = {name.lower() for name in chosen}
    ours = {
        # A packed stream arrives in lumps.
        "Accept-Encoding": "identity",
        "Orch-Job-Id": run.job_id,
        "Orch-Attempt": str(run.attempt),
        "Orch-Fence": str(run.claim.epoch),
    }
    left = {name: value for name, value in usual.items() if name.lower() not in named}
    return tuple({**left, **chosen, **ours}.items())
