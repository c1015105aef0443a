"""Every function and every command that Orch sends is in the rights of a user, read from the sources."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from ops.rights import _ALL, _ALL_VERBS, ROLES, SUPERVISOR, commands_of, users_acl, within
from orch.store.library import library

ROOT: Final = Path(__file__).resolve().parents[2]
SENT: Final = re.compile(r"(?:\b(?:execute|once)|\.read)\(\s*\"([A-Z]{2,})\"(?:, \"([A-Z]{2,})\")?")
CONTAINERS: Final = frozenset({"acl", "config", "function"})
DANGEROUS: Final = frozenset(
    """
    acl bgrewriteaof bgsave client cluster config copy debug eval evalsha failover flushall flushdb function
    keys latency migrate module monitor move psync publish rename replicaof restore save script shutdown
    slaveof subscribe swapdb sync
    """.split()
)


@pytest.mark.req("DEP-2")
def test_each_function_is_called_by_somebody() -> None:
    known = {*_ALL_VERBS.split(), *SUPERVISOR.verbs.split()}
    known |= {verb for role in ROLES.values() for verb in role.verbs.split()}
    assert known == set(library().verbs)


@pytest.mark.req("DEP-2")
def test_each_command_that_python_sends_is_allowed_to_the_user_of_all_roles() -> None:
    files = [*(ROOT / "orch/store").glob("*.py"), *(ROOT / "actors").rglob("*.py")]
    found = [words for path in files for words in SENT.findall(path.read_text())]
    lowered = [(one.lower(), two.lower()) for one, two in found]
    sent = {f"{one}|{two}" if one in CONTAINERS else one for one, two in lowered}
    assert len(sent) > 20, "they are found"
    assert "function|delete" in sent
    assert sent <= commands_of([*ROLES.values(), SUPERVISOR])


@pytest.mark.req("SEC-3")
def test_no_user_has_a_command_that_harms_the_whole_server() -> None:
    for line in users_acl().splitlines():
        allowed = {word[1:] for word in line.split() if word.startswith("+")}
        assert not allowed & DANGEROUS, line.split()[1]
        assert not any(word.startswith("@") for word in allowed), "no category: they grow"


@pytest.mark.req("SEC-3")
def test_commands_are_found_through_what_a_function_calls() -> None:
    assert within("beat") < within("cycle")
    assert {"xreadgroup", "xgroup|create"} <= within("cycle"), "in claim.lua and register.lua"
    assert {"lpop", "rpop"} <= within("admit"), "by a table of words in evict.lua"
    assert "scan" in within("repair")
    assert "scan" not in within("cycle")
    assert not within("beat") & {"del", "scan"}
    assert "fcall" in _ALL
