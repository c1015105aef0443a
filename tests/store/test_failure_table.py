"""The table of failures: complete, found for whatever redis-py makes of an answer, and told to operators."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from redis._parsers.base import BaseParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import DataError, InvalidResponse, MaxConnectionsError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from contracts.errors import Corrupt, Misuse, OrchError, Unavailable
from orch.store.engine import engines
from orch.store.failures import SENTENCES, WORDS, Reaction, failure_of, translate
from tests.store.answers import KINDS, SAMPLES
from tests.store.injection import Injection


@pytest.fixture(autouse=True)
def real_programs(injection: Injection | None) -> None:
    if injection is not None:
        pytest.skip("--timeouts: the programs on PATH are not the servers themselves")


def test_the_reactions_are_these() -> None:
    """Said once more, so that nobody moves a word without meaning to."""
    retried = (
        "BUSY CLUSTERDOWN LOADING MASTERDOWN MISCONF NOGROUP NOREPLICAS OOM READONLY TRYAGAIN ASK UNBLOCKED "
        "INPROG NOMASTERLINK"
    ).split()
    refused = (
        "NOAUTH WRONGPASS NOPERM DENIED MOVED REDIRECT NOPROTO NOGOODPRIMARY NOGOODSLAVE NOQUORUM"
    ).split()
    stopped = (
        "WRONGTYPE CROSSSLOT INVALIDOBJ BUSYGROUP BUSYKEY EXECABORT NOSCRIPT NOTBUSY UNKILLABLE IOERR"
    ).split()
    assert {word: row.reaction for word, row in WORDS.items()} == {
        **dict.fromkeys(retried, Reaction.RETRY),
        **dict.fromkeys(refused, Reaction.REFUSE),
        **dict.fromkeys(stopped, Reaction.STOP),
    }


@pytest.mark.parametrize("text", SAMPLES)
def test_the_row_is_found_whatever_redis_py_makes_of_the_answer(text: str) -> None:
    error = BaseParser.parse_error(text)
    row = SAMPLES[text]
    assert failure_of(error) is row
    ours = translate(error)
    assert (type(ours), ours.code) == (KINDS[row.reaction], row.code)
    assert str(error) in ours.message


def test_every_word_that_the_servers_here_know_has_a_row() -> None:
    for engine in engines():
        found = {
            word.decode() for word in re.findall(rb"\0-([A-Z]{3,}) ", engine.path.read_bytes())
        }
        assert len(found) > 20, f"{engine.path} is no server program"
        assert found - {"ERR"} <= set(WORDS), engine.label


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RedisConnectionError("gone"), Unavailable),
        (RedisTimeoutError(), Unavailable),
        (MaxConnectionsError("Too many connections"), Unavailable),
        (InvalidResponse("Protocol error"), Unavailable),
        (RedisError("?"), Unavailable),
        (RedisError("ORCH newer schema 2"), Misuse),
        (BaseParser.parse_error("ORCH newer schema 2"), Misuse),
        (DataError("Invalid input of type: 'NoneType'"), Corrupt),
    ],
)
def test_what_redis_py_says_itself_has_a_row(error: RedisError, kind: type[OrchError]) -> None:
    ours = translate(error)
    assert type(ours) is kind
    assert ours.message


def test_the_page_for_operators_holds_the_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    found = re.findall(r"^\| (`.+`) \| (retry|refuse|stop) \| (.+) \|$", page, re.MULTILINE)
    rows = [(f"`{word}`", row.reaction.value, row.why) for word, row in WORDS.items()]
    rows += [(f"`ERR {text}`", row.reaction.value, row.why) for text, row in SENTENCES.items()]
    wanted = "\n".join(f"| {word} | {reaction} | {why} |" for word, reaction, why in rows)
    assert found == rows, f"docs/operations.md should say:\n{wanted}"
