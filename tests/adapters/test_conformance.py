"""What every adapter must keep, whatever it runs: one suite, and one row for each adapter (RUN-1).

A row says how its agents talk, fail, hang and ask to be tried again; the promises are the same for all.
Inline python has no row: it runs in the loop of whoever calls it, and has no output of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from contracts.adapters import ADAPTER_CONFIGS
from contracts.errors import ErrorCode, Refused
from contracts.outcomes import Outcome, ReasonCode
from orch.adapters.protocol import Stream
from tests.adapters.endpoint import Endpoint, Line, plain

pytestmark = pytest.mark.req("RUN-1")

AGENT = """
import sys, time
def says(text): print(text, end="", flush=True)
def fails(): raise ValueError("no")
def hangs(text):
    print(text, end="", flush=True)
    time.sleep(1000)
"""


class Agents(ABC):
    """What one adapter runs; each method gives a config."""

    stream: Stream = "stdout"

    def __init__(self, folder: Path, endpoint: Endpoint) -> None:
        self.folder = folder
        self.endpoint = endpoint

    @abstractmethod
    def says(self, text: str) -> dict[str, Any]:
        """An agent that says it and ends well."""

    @abstractmethod
    def fails(self) -> dict[str, Any]:
        """One that fails by itself."""

    @abstractmethod
    def hangs(self, text: str) -> dict[str, Any]:
        """One that says it and never ends."""

    def transient(self) -> dict[str, Any] | None:
        """One that asks to be tried again; None when it has no such end."""
        return None

    @abstractmethod
    def missing(self) -> dict[str, Any]:
        """One that cannot be started here."""


class Command(Agents):
    def _shell(self, script: str) -> dict[str, Any]:
        return {"argv": ["sh", "-c", script]}

    def says(self, text: str) -> dict[str, Any]:
        return self._shell(f"printf %s '{text}'")

    def fails(self) -> dict[str, Any]:
        return self._shell("exit 3")

    def hangs(self, text: str) -> dict[str, Any]:
        return self._shell(f"printf %s '{text}'; exec sleep 1000")

    def transient(self) -> dict[str, Any] | None:
        return self._shell("exit 75")

    def missing(self) -> dict[str, Any]:
        return {"argv": ["/no/such/program"]}


class Steps(Command):
    def _shell(self, script: str) -> dict[str, Any]:
        return {"steps": [{"id": "only", **super()._shell(script)}]}

    def missing(self) -> dict[str, Any]:
        return {"steps": [{"id": "only", **super().missing()}]}


class Python(Agents):
    def _call(self, name: str, *args: Any) -> dict[str, Any]:
        (self.folder / "agent_module.py").write_text(AGENT)
        return {"callable": f"agent_module:{name}", "args": args, "path": str(self.folder)}

    def says(self, text: str) -> dict[str, Any]:
        return {**self._call("says"), "args": [text]}

    def fails(self) -> dict[str, Any]:
        return {**self._call("fails"), "args": []}

    def hangs(self, text: str) -> dict[str, Any]:
        return {**self._call("hangs"), "args": [text]}

    def missing(self) -> dict[str, Any]:
        return {**self._call("nobody"), "args": []}


class Http(Agents):
    stream: Stream = "token"

    def says(self, text: str) -> dict[str, Any]:
        return {"url": self.endpoint.plays(plain(text.encode(), Content_Type="text/plain"))}

    def fails(self) -> dict[str, Any]:
        return {"url": self.endpoint.plays(plain(b"", 422))}

    def hangs(self, text: str) -> dict[str, Any]:
        def hang(line: Line) -> None:
            line.head(Content_Type="text/plain")
            line.send(text.encode())
            line.until_gone()

        return {"url": self.endpoint.plays(hang)}

    def transient(self) -> dict[str, Any] | None:
        return {"url": self.endpoint.plays(plain(b"", 502))}

    def missing(self) -> dict[str, Any]:
        return {"url": self.endpoint.url, "secret_headers": {"X-Key": "NOT_SET_ANYWHERE"}}


@dataclass
class Case:
    """One adapter on its bench."""

    name: str
    agents: Agents
    bench: Any

    async def run(self, config: dict[str, Any], **more: Any) -> Any:
        return await self.bench.run(self.name, **config, **more)

    def text(self) -> str:
        text: str = self.bench.desk.text(self.agents.stream)
        return text


KINDS: dict[str, type[Agents]] = {
    "command": Command,
    "steps": Steps,
    "python": Python,
    "http": Http,
}


@pytest.fixture(params=KINDS)
def case(request: pytest.FixtureRequest, bench: Any, endpoint: Endpoint, tmp_path: Path) -> Case:
    return Case(request.param, KINDS[request.param](tmp_path, endpoint), bench)


def test_every_shipped_adapter_has_its_row() -> None:
    assert set(KINDS) == set(ADAPTER_CONFIGS)


@pytest.mark.req("RUN-2")
async def test_what_an_agent_says_is_handed_on_and_its_end_is_done(case: Case) -> None:
    ending = await case.run(case.agents.says("hello wörld"))
    assert (ending.outcome, ending.reason) == (Outcome.DONE, ReasonCode.COMPLETED)
    assert case.text() == "hello wörld"


@pytest.mark.req("RUN-2")
async def test_large_output_comes_in_bounded_pieces_and_whole_as_a_blob(case: Case) -> None:
    ending = await case.run(case.agents.says("0123456789" * 10_000))
    assert ending.outcome is Outcome.DONE
    assert case.text() == "0123456789" * 10_000
    assert max(len(text) for _, text in case.bench.desk.entries) <= 8 * 1024
    (stored,) = [note.payload for note in case.bench.desk.notes if note.event == "output_stored"]
    assert (stored["bytes"], stored["truncated"]) == (100_000, False)


@pytest.mark.req("FBK-1")
async def test_failures_are_told_apart(case: Case) -> None:
    assert (await case.run(case.agents.fails())).outcome is Outcome.LOGIC
    assert (await case.run(case.agents.missing())).outcome is Outcome.ENVIRONMENT
    again = case.agents.transient()
    if again is not None:
        assert (await case.run(again)).outcome is Outcome.TRANSIENT


@pytest.mark.req("RUN-3")
async def test_wall_time_ends_an_agent_and_what_it_said_is_kept(case: Case) -> None:
    ending = await case.run(case.agents.hangs("so far"), wall_ms=3_000)
    assert (ending.outcome, ending.reason) == (Outcome.RESOURCE, ReasonCode.WALL_LIMIT)
    assert case.text() == "so far"


@pytest.mark.req("RUN-4")
async def test_cancel_is_quick_and_nothing_follows(
    case: Case, stopwatch: Callable[[], float]
) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: case.run(case.agents.hangs("ready")))
        await case.bench.until(lambda: case.text() == "ready")
        began = stopwatch()
        tasks.cancel_scope.cancel()
    assert stopwatch() - began < 1
    assert case.text() == "ready"


@pytest.mark.req("LSE-2")
async def test_a_claim_that_is_over_stops_the_work_and_passes(case: Case) -> None:
    case.bench.desk.over = True
    with pytest.raises(Refused) as caught:
        await case.run(case.agents.hangs("refused"))
    assert caught.value.code is ErrorCode.LEASE_OVER


@pytest.mark.req("LSE-4")
async def test_nothing_starts_once_the_runner_is_condemned(case: Case) -> None:
    case.bench.leases.condemn()
    ended: list[Any] = []
    with suppress(Refused):
        ended.append(await case.run(case.agents.says("too late")))
    assert all(ending.outcome is not Outcome.DONE for ending in ended)
    assert case.text() == ""
    assert case.agents.endpoint.asked == []
