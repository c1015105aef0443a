"""The producer's user (ops/redis/users.acl): it adds raw requests, reads answers, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from contracts.limits import ANSWER_KEY_TTL_MS
from orch.store.keys import Keys
from tests.store.engines import Servers, why_absent

USERS = Path(__file__).parents[2] / "ops" / "redis" / "users.acl"
KEYS = Keys(0)
REAL = [name for name in ("valkey", "redis") if not why_absent(name)]

DENIED = [
    ("PING",),
    ("GET", KEYS.requests),
    ("GET", KEYS.job("j")),
    ("GET", "answer:r"),
    ("SET", KEYS.answer("r"), "mine"),
    ("DEL", KEYS.answer("r")),
    ("XADD", KEYS.outcomes, "*", "j", "job:1"),
    ("XADD", f"{KEYS.prefix}control", "*", "v", "1"),
    ("XADD", Keys(1).requests, "*", "v", "1"),
    ("XADD", KEYS.answer("r"), "*", "v", "1"),
    ("XREAD", "STREAMS", KEYS.requests, "0"),
    ("XRANGE", KEYS.requests, "-", "+"),
    ("XLEN", KEYS.requests),
    ("XDEL", KEYS.requests, "1-1"),
    ("XTRIM", KEYS.requests, "MAXLEN", 0),
    ("XGROUP", "DESTROY", KEYS.requests, "admission"),
    ("HGETALL", KEYS.job("j")),
    ("FCALL", "admit", 1, KEYS.prefix),
    ("EVAL", "return 1", 0),
    ("KEYS", "*"),
    ("SCAN", 0),
    ("CONFIG", "GET", "*"),
    ("ACL", "LIST"),
    ("FLUSHALL",),
    ("MONITOR",),
    ("SUBSCRIBE", "x"),
]


def user_words() -> tuple[str, list[str]]:
    """The user's name and rules, as ACL SETUSER takes them: a selector is one word."""
    (line,) = (one for one in USERS.read_text().splitlines() if " orch-producer " in one)
    _, name, rules = line.split(" ", 2)
    return name, re.findall(r"\([^)]*\)|\S+", rules)


@pytest.fixture
def producer(engine: str, servers: Servers) -> Iterator[redis.Redis]:
    """A producer on a real server; the user goes afterwards."""
    name, rules = user_words()
    url = servers.url(engine)
    with redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0)) as owner:
        owner.flushall()
        owner.set(KEYS.answer("r"), "yes", px=ANSWER_KEY_TTL_MS)
        owner.execute_command("ACL", "SETUSER", name, "reset", *rules)
        with redis.Redis.from_url(
            url, username=name, password="change-me", decode_responses=True, protocol=2,
            retry=Retry(NoBackoff(), 0),
        ) as client:  # fmt: skip
            yield client
        owner.execute_command("ACL", "DELUSER", name)


@pytest.mark.req("SEC-3", "ADM-1")
@pytest.mark.parametrize("engine", REAL, indirect=True)
def test_a_producer_adds_requests_and_reads_answers(producer: redis.Redis) -> None:
    assert producer.execute_command("XADD", KEYS.requests, "*", "v", "1", "spec", "{}")
    assert producer.execute_command("GET", KEYS.answer("r")) == "yes"


@pytest.mark.req("SEC-3")
@pytest.mark.parametrize("engine", REAL, indirect=True)
def test_everything_else_is_denied_to_a_producer(producer: redis.Redis) -> None:
    for command in DENIED:
        with pytest.raises(NoPermissionError):
            producer.execute_command(*command)
