"""Which engines the conformance suite ran on: one line for each that is not here, a failure in CI."""

from __future__ import annotations

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from orch.store.keys import Keys
from tests.store.engines import CLUSTER, NAMES, Servers, must_be_here, why_absent
from tests.store.world import World


@pytest.mark.parametrize("name", [*NAMES, CLUSTER])
def test_the_suite_runs_on_every_engine(name: str) -> None:
    reason = why_absent(name)
    assert not (reason and must_be_here()), f"{reason}, and .ci/run could have installed it"
    if reason:
        pytest.skip(f"the conformance suite did not run on it: {reason}")


@pytest.mark.req("DEP-2")
@pytest.mark.parametrize("engine", [CLUSTER], indirect=True)
async def test_the_suite_on_a_cluster_runs_on_one_that_would_notice_a_foreign_slot(
    world: World, servers: Servers
) -> None:
    nodes = servers.nodes()
    here = nodes.serving()
    elsewhere = next(n for n in range(1, 100) if nodes.serving(n) is not here)
    await world.pool()
    await world.submit("job")
    with redis.Redis.from_url(
        servers.server(CLUSTER), decode_responses=True, retry=Retry(NoBackoff(), 0)
    ) as node:
        assert node.exists(Keys(0).job("job")) == 1
        assert node.info("cluster")["cluster_enabled"] == 1
        with pytest.raises(redis.exceptions.MovedError):
            node.execute_command("SET", Keys(elsewhere).job("job"), "x")
