"""Families of the store over the model of a server: the real code, where a fake would repeat it."""

from __future__ import annotations

from orch.store.keys import Keys
from orch.store.schedules import Schedules
from orch.store.store import open_store
from orch.system import SystemClock, SystemIds
from tests.sim.model.client import connect_model
from tests.sim.model.server import ModelServer
from tests.store.world import policy


def modelled_schedules() -> Schedules:
    """On an empty server that has the pool `default`, with room for two jobs."""
    clock = SystemClock()
    server = ModelServer(clock.wall_ms, "0" * 40)
    server.execute("SADD", Keys().pools, "default")
    connection = connect_model(server, clock)
    store = open_store(connection, SystemIds(), policy(), actor="gateway", queue_jobs_max=2)
    return store.schedules
