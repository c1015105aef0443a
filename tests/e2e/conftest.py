"""Stacks for the end-to-end tests: one for a whole module, or as many as a test wants to break."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import driven
from tests.e2e.invariants import ledgers
from tests.e2e.stack import Stack, a_stack

StartStack = Callable[..., Stack]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for all tests of a module; they keep it whole."""
    with a_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(autouse=True)
def what_it_drives(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that says which events it makes happen has made each of them happen once more."""
    promised = driven.wanted(request)
    if not promised:
        yield
        return
    stack: Stack = request.getfixturevalue("stack")
    before = driven.counted(ledgers(stack.redis))
    yield
    after = driven.counted(ledgers(stack.redis))
    assert promised <= set(after - before), "the test says that it makes them happen"


@pytest.fixture
def start_stack(tmp_path: Path) -> Iterator[StartStack]:
    """Starts stacks for one test, by settings; `name` tells their homes apart."""
    with ExitStack() as running:

        def start(name: str = "stack", **settings: object) -> Stack:
            root = tmp_path / name
            root.mkdir()
            return running.enter_context(a_stack(root, **settings))

        yield start
