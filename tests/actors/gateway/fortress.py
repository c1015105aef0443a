"""A gateway that asks for tokens, over a real store: what strangers get to see must be what is stored."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import httpx2

from actors.body import make_store
from actors.gateway.app import create_app
from actors.gateway.serve import bind, serve
from actors.gateway.services import Bounds, Services, Timing
from contracts.record import Submitted
from contracts.tokens import Scope, TokenRecord
from orch.core.asks import Ask
from orch.core.tokens import digest_of, token_text
from orch.settings import settings_of
from orch.store.embedded import private_server
from orch.store.store import Store
from orch.system import SystemClock, SystemIds, secret_letters
from orch.telemetry.metrics import Metrics
from tests.actors.gateway.house import SPEC, FakeBlobs, check_contract

KEY: Final = "k" * 52
EVERYTHING: Final = tuple(Scope)


@dataclass
class Fortress:
    http: httpx2.AsyncClient
    store: Store
    port: int
    redis_url: str
    further: Mapping[int, Store]
    """Of other shards on the same server."""

    async def token(
        self,
        *,
        tenant: str | None = None,
        scopes: Iterable[Scope] = EVERYTHING,
        name: str = "somebody",
        expires_at_ms: int | None = None,
        shard: int = 0,
    ) -> str:
        """A new token; it needs no waiting, since nobody has asked for it before."""
        token_id = secret_letters(10)
        text = token_text(token_id, secret_letters(52))
        record = TokenRecord(
            name=name,
            tenant=tenant,
            scopes=sorted(scopes),
            sha256=digest_of(text),
            created_at_ms=1,
            expires_at_ms=expires_at_ms,
        )
        await self.of(shard).tokens.create(token_id, record)
        return text

    def of(self, shard: int) -> Store:
        """The store of a shard."""
        return self.further.get(shard, self.store)

    async def submit(self, *, shard: int = 0, **changes: Any) -> str:
        """A job that came in another way."""
        (answer,) = await self.of(shard).admission.admit([Ask({**SPEC, **changes})])
        assert isinstance(answer, Submitted), answer
        return answer.job_id

    async def call(
        self,
        method: str,
        path: str,
        token: str | None = None,
        body: Any = None,
        *,
        shard: object = None,
    ) -> httpx2.Response:
        """One request; each answer is held against the contract."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        if shard is not None:
            headers["Orch-Shard"] = str(shard)
        if body is not None:
            headers["Content-Type"] = "application/json"
        content = None if body is None else json.dumps(body)
        return await self.http.request(method, path, headers=headers, content=content)

    async def contents(self) -> dict[str, Any]:
        """Everything that is stored, whole."""
        execute = self.store.connection.execute
        return {key: await execute("DUMP", key) for key in sorted(await execute("KEYS", "*"))}


@asynccontextmanager
async def fortress(
    home: Path,
    *,
    agent_key: str | None = KEY,
    timing: Timing | None = None,
    bounds: Mapping[str, int] | None = None,
    shards: Iterable[int] = (),
) -> AsyncIterator[Fortress]:
    """With `agent_key=None` it is an open house. Jobs are never run: there is no runner."""
    async with private_server(home, appendfsync="no") as server:
        stores = {
            shard: make_store(
                settings_of({"redis_url": server.url, "shard": shard}), actor="gateway"
            )
            for shard in (0, *shards)
        }
        for one in stores.values():
            await one.timers.declare(["default"])
        store = stores.pop(0)
        services = Services(
            store=store,
            further=stores,
            blobs=FakeBlobs(),
            clock=SystemClock(),
            ids=SystemIds(),
            metrics=Metrics(),
            timing=timing or Timing(),
            bounds=Bounds(**(bounds or {})),
            agent_key=agent_key,
        )
        app, stop, sock = create_app(services), anyio.Event(), bind()
        port: int = sock.getsockname()[1]
        client = httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            timeout=10,
            event_hooks={"response": [check_contract]},
        )
        try:
            async with anyio.create_task_group() as tasks:
                await tasks.start(partial(serve, app, sock, stop=stop, grace_ms=1_000))
                async with client:
                    yield Fortress(client, store, port, server.url, stores)
                    stop.set()
        finally:
            for one in (store, *stores.values()):
                await one.connection.aclose()
