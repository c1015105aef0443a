"""A new configuration for a running stack: judged whole, proven by processes that live by it, then in force.

Until the new processes are well and the old runners have nothing left to do, the old ones go on; whatever
goes wrong before that point ends the new ones, and nothing has changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
import structlog

from actors.generation import Generation, Unproven
from actors.outage import Outage
from contracts.commands import OVER
from contracts.control import Command, make_command
from contracts.defaults import DEFAULTS
from contracts.errors import Refused, Unavailable
from orch.ports import Clock
from orch.settings import Settings
from orch.store.control import Wanted
from orch.store.store import Store

log = structlog.get_logger()

FIXED: Final = (
    "redis_url", "shard", "host", "port", "appendfsync", "ephemeral", "tls_cert", "tls_key",
)  # fmt: skip
"""What a stack cannot change while it runs."""
TRIAL_MS: Final = 30_000
_LOOK_MS: Final = 100


@dataclass(frozen=True, slots=True)
class Report:
    """How a reload ended."""

    result: str
    """applied, unchanged, refused or rolled_back."""
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether the old configuration is still in force although a new one was wanted."""
        return self.result in {"refused", "rolled_back"}


@dataclass(slots=True)
class Means:
    """What a reload needs of its stack."""

    store: Store
    clock: Clock
    instance_id: str
    load: Callable[[], Settings]
    """Reads flags, environment and files again; Refused INVALID_CONFIG."""
    begin: Callable[[Settings], Awaitable[Generation]]
    """Starts a generation on these settings, beside the one that runs."""
    switch: Callable[[Settings, Generation], Awaitable[None]]
    """From now on that one is the stack."""
    runners: Callable[[Generation], Awaitable[list[str]]]
    """The instances of its runners."""


class Reloads:
    """One stack's reloads, one after the other."""

    def __init__(self, means: Means, loaded: Settings, running: Generation, *, obeyed: str) -> None:
        """`obeyed` is the command that stood there when the configuration was read."""
        self._means = means
        self._loaded = loaded
        self._running = running
        self._obeyed = obeyed
        self._wanted = Wanted(0, {}, obeyed)
        self._news = anyio.Event()

    def obey(self, wanted: Wanted) -> None:
        """A revision of the desired state; only a new command to reload matters here."""
        self._wanted = wanted
        self._news.set()

    async def run(self) -> None:
        """Until it is canceled."""
        while True:
            self._news = anyio.Event()
            wanted = self._wanted
            if wanted.reload and wanted.reload != self._obeyed:
                report = await self._reload(wanted.reload)
                log.info("reload", command=wanted.reload, result=report.result, **report.about)
                self._obeyed = wanted.reload
                await self._tell(wanted, report)
            else:
                await self._news.wait()

    async def _tell(self, wanted: Wanted, report: Report) -> None:
        outage = Outage("reload", self._means.clock)
        while True:
            try:
                await self._means.store.control.acknowledge(
                    self._means.instance_id, wanted.revision, command_id=wanted.reload,
                    failed=report.failed, report={"result": report.result, **report.about},
                )  # fmt: skip
            except Unavailable as error:
                await outage.wait(error)
            else:
                return

    # -- one of them

    async def _reload(self, command_id: str) -> Report:
        try:
            settings = self._means.load()
        except Refused as refused:
            return Report("refused", {"reason": refused.message})
        fixed = [key for key in FIXED if settings.value(key) != self._loaded.value(key)]
        if fixed:
            names = ", ".join(fixed)
            reason = f"cannot change while the stack runs: {names}"
            return Report("refused", {"reason": reason, "keys": fixed})
        digest = digest_of(settings)
        if digest == digest_of(self._loaded):
            return Report("unchanged", {"digest": digest})
        return await self._try(command_id, settings, digest)

    async def _try(self, command_id: str, settings: Settings, digest: str) -> Report:
        means, old = self._means, self._running
        new = await means.begin(settings)
        drains: list[str] = []
        try:
            await new.prove(within_ms=TRIAL_MS)
            drains = await means.runners(old)
            await self._drain(command_id, drains, within_ms=settings.reload_drain_ms)
        except (Unproven, Unavailable, Refused) as error:
            await new.retire()
            await self._undrain(command_id, drains)
            kept = digest_of(self._loaded)
            return Report("rolled_back", {"reason": str(error), "digest": kept})
        await means.switch(settings, new)
        self._loaded, self._running = settings, new
        await old.retire()
        return Report("applied", {"digest": digest})

    async def _drain(self, command_id: str, runners: list[str], *, within_ms: int) -> None:
        control, clock = self._means.store.control, self._means.clock
        commands = [_command(command_id, "drain", name, n) for n, name in enumerate(runners)]
        for one in commands:
            await control.push(one)
        until_ms = clock.monotonic_ms() + within_ms
        for one in commands:
            while (await control.command(one.command_id)).status not in OVER:
                if clock.monotonic_ms() > until_ms:
                    held = f"{one.target.text} was not drained within {within_ms} ms"
                    raise Unproven(held)
                await clock.sleep_ms(_LOOK_MS)

    async def _undrain(self, command_id: str, runners: list[str]) -> None:
        outage = Outage("undrain", self._means.clock)
        for n, name in enumerate(runners):
            while True:
                try:
                    await self._means.store.control.push(_command(command_id, "undrain", name, n))
                    break
                except Unavailable as error:
                    await outage.wait(error)


def _command(reload_id: str, name: str, runner: str, number: int) -> Command:
    own = f"{reload_id[:40]}.{name}.{number}"
    return make_command(own, name, f"runner:{runner}", {}, by="supervisor", token=own)


def digest_of(settings: Settings) -> str:
    """Names the values that are in force, wherever they came from."""
    values = {key: settings.value(key) for key in DEFAULTS}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
