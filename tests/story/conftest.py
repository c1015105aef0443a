"""The stack that the story plays on, and the client it speaks through.

`orch up` would do the same for you; the tests only choose a home of their own and short backoffs.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orch.client import OrchSync
from tests.e2e.stack import Stack, a_stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A private Valkey, the actors and the gateway, all as processes."""
    root = tmp_path_factory.mktemp("story")
    with a_stack(root, backoff_ms=50, backoff_ms_max=200) as running:
        yield running


@pytest.fixture
def orch(stack: Stack) -> OrchSync:
    """What a program of yours gets from `OrchSync(find_endpoint(None, home, os.environ))`."""
    return stack.client
