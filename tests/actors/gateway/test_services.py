"""The gateway's protocols against what they stand for: the type checker proves it, the test says so."""

from __future__ import annotations

import pytest

from actors.gateway import verbs
from orch.blobs import Blobs
from orch.store.store import Store


def as_gateway_store(store: Store) -> verbs.Store:
    return store


def as_gateway_blobs(blobs: Blobs) -> verbs.Blobs:
    return blobs


@pytest.mark.req("ADM-1")
def test_the_real_store_has_every_family_that_the_gateway_calls() -> None:
    families = {name for name in vars(verbs.Store) if not name.startswith("_")}

    assert families <= set(Store.__dataclass_fields__)
