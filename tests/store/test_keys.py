"""One list of key names: Lua builds the same names as keys.py, and every family has an owner."""

from __future__ import annotations

import inspect
import re

import pytest

from contracts.limits import BATCH_ITEMS_MAX
from orch.store.keys import OWNERS, Keys
from orch.store.library import ORDER, PARTS, flags, generated_lua, library, source

NO_FUNCTION_S = {"affinity", "tokens"}
"""Families that no function touches: plain commands of the store do."""
KEY_IN_LUA = re.compile(r"\bshard \.\. '([a-z]+)(:?)")
STREAMS_IN_LUA = re.compile(r"'((?:ready|wake):|requests|outcomes|alarm|notices)'")


def families_in_lua() -> dict[str, bool]:
    """Family -> whether a name of it goes on after a colon, from every function's text."""
    text = "".join(source(name) for name in ORDER)
    found = KEY_IN_LUA.findall(text) + [
        (name.rstrip(":"), ":" if name.endswith(":") else "")
        for name in STREAMS_IN_LUA.findall(text)
    ]
    return {family: bool(colon) for family, colon in found}


def families_in_python() -> dict[str, bool]:
    """The same from keys.py; methods take the rest of the name."""
    keys, found = Keys(7), {}
    for name, member in inspect.getmembers(Keys):
        if name.startswith("_") or name == "prefix":
            continue
        if isinstance(member, property):
            found[getattr(keys, name)] = False
        elif inspect.isfunction(member):
            words = ["x"] * (len(inspect.signature(member).parameters) - 1)
            found[member(keys, *words).removesuffix(":".join(words))] = True
    assert all(name.startswith("{orch:7}:") for name in found)
    return {name.removeprefix("{orch:7}:").rstrip(":"): more for name, more in found.items()}


@pytest.mark.req("REA-3")
def test_lua_and_python_build_the_same_names() -> None:
    lua, python = families_in_lua(), families_in_python()
    assert {family: lua[family] for family in python.keys() - NO_FUNCTION_S} == {
        family: more for family, more in python.items() if family not in NO_FUNCTION_S
    }


@pytest.mark.req("REA-3")
def test_every_family_of_keys_has_an_owner_and_no_owner_is_without_a_family() -> None:
    assert set(families_in_lua()) == set(OWNERS) - NO_FUNCTION_S
    assert set(families_in_python()) <= set(OWNERS)


def test_every_key_of_a_shard_has_its_hash_tag_and_no_other() -> None:
    keys = Keys(3)
    assert keys.prefix == "{orch:3}:"
    assert keys.job("j") == "{orch:3}:job:j"
    assert Keys().feed == "{orch:0}:feed"


@pytest.mark.req("JOB-2")
def test_the_generated_file_is_what_contracts_say_now() -> None:
    assert source("generated") == generated_lua()
    assert f"local BATCH_MAX = {BATCH_ITEMS_MAX}\n" in source("generated")


@pytest.mark.req("ADM-2", "LSE-2")
def test_only_what_makes_new_things_stops_when_memory_is_short() -> None:
    refused_under_oom = {verb for verb in library().verbs if "allow-oom" not in flags(source(verb))}
    assert refused_under_oom == {"admit", "declare", "post", "replay", "fire", "schedule"}


def test_no_write_is_ever_tried_with_pcall() -> None:
    calls = [
        line.strip() for name in ORDER for line in source(name).splitlines() if "pcall(" in line
    ]
    assert calls == ["local reply = redis.pcall(unpack(command))"]
    assert "local command = { 'XREADGROUP'" in source("claim")


def test_every_file_is_in_the_library_and_only_verbs_can_be_called() -> None:
    assert set(library().verbs) == set(ORDER) - PARTS


@pytest.mark.req("LSE-1")
def test_whatever_is_acknowledged_moves_the_watermark_but_a_beat_and_a_look() -> None:
    # A beat is told by the next one, and counts itself; a look at a pool, or at all, promises nothing.
    assert library().headed == set(library().verbs) - {"beat", "survey", "census"}
