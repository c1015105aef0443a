"""A scripted gateway for the clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.fake_gateway import FakeGateway, fake_gateway


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with fake_gateway() as fake:
        yield fake
