"""A scripted gateway, and the `orch` command run inside this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from orch.cli.main import run
from tests.cli.fake_gateway import FakeGateway, fake_gateway


@dataclass(frozen=True)
class Ended:
    """How one call of `orch` ended."""

    code: int
    out: str
    err: str


Orch = Callable[..., Ended]


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with fake_gateway() as fake:
        yield fake


@pytest.fixture
def orch(capsys: pytest.CaptureFixture[str]) -> Orch:
    """`orch WORDS…`, its exit code and what it wrote."""

    def call(*words: str) -> Ended:
        capsys.readouterr()
        code = run(words)
        out, err = capsys.readouterr()
        return Ended(code, out, err)

    return call


@pytest.fixture
def at_gateway(orch: Orch, gateway: FakeGateway) -> Orch:
    """The same, calling the scripted gateway."""

    def call(*words: str) -> Ended:
        return orch(*words, "--url", gateway.url)

    return call
