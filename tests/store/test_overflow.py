"""More raw requests than may wait: the youngest are refused with a record, none is trimmed unread."""

from __future__ import annotations

import orjson
import pytest

from actors.admission.perform import AdmissionActor
from actors.mailbox import ENTRIES_READ, Entry
from contracts.limits import REQUESTS_BACKLOG_MAX
from orch.store.leases import Instance
from orch.telemetry.metrics import Metrics
from tests.store.world import World

FLOOD = """
for n = 1, tonumber(ARGV[1]) do
  redis.call('XADD', KEYS[1], '*', 'v', '1', 'request_id', 'r' .. n, 'spec', '{')
end
"""
OVER = 3


@pytest.fixture
async def flooded(world: World) -> World:
    """Three more than may wait."""
    await world.store.leases.register(Instance("adm", "admission", {}))
    requests = world.connection.keys.requests
    await world.redis("EVAL", FLOOD, 1, requests, REQUESTS_BACKLOG_MAX + OVER)
    return world


@pytest.mark.req("ADM-1", "ADM-6")
@pytest.mark.first_answers
@pytest.mark.parametrize("engine", ["valkey"], indirect=True)
async def test_the_youngest_beyond_the_bound_are_refused_with_a_record(flooded: World) -> None:
    keys, admission = flooded.connection.keys, flooded.store.admission
    assert await admission.overflow(most=2) == 2
    assert await admission.overflow(most=1_000) == OVER - 2
    assert await admission.overflow(most=1_000) == 0
    assert await flooded.redis("XLEN", keys.requests) == REQUESTS_BACKLOG_MAX
    counted = admission.submissions
    assert counted.refused_for_load == {"requests-backlog": OVER}
    assert counted.by_result == {"load": OVER}, "of whatever they are a share, they are in it"
    youngest = f"r{REQUESTS_BACKLOG_MAX + OVER}"
    body = orjson.loads(await flooded.redis("GET", keys.answer(youngest)))
    assert (body["code"], body["policy_label"]) == ("QUEUE_FULL", "requests-backlog")
    assert (body["request_id"], body["retriable"]) == (youngest, True)
    assert await flooded.redis("GET", keys.answer(f"r{REQUESTS_BACKLOG_MAX}")) is None
    await flooded.redis("DEL", keys.requests)


@pytest.mark.req("ADM-1")
@pytest.mark.first_answers
@pytest.mark.parametrize("engine", ["valkey"], indirect=True)
async def test_admission_looks_at_the_bound_when_it_reads_as_much_as_it_can(flooded: World) -> None:
    keys, metrics = flooded.connection.keys, Metrics()
    read = await flooded.redis(
        "XREADGROUP",
        "GROUP",
        "admission",
        "adm",
        "COUNT",
        ENTRIES_READ,
        "STREAMS",
        keys.requests,
        ">",
    )
    entries = [Entry(entry_id, fields) for _, found in read for entry_id, fields in found]
    await AdmissionActor(flooded.store, metrics).handle(entries)
    assert await flooded.redis("XLEN", keys.requests) == REQUESTS_BACKLOG_MAX - ENTRIES_READ
    counted = metrics.counter("orch_admission_answers_total").labels(result="backlog")
    assert counted._value.get() == OVER
    await flooded.redis("DEL", keys.requests)
