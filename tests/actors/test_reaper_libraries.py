"""Which function libraries nobody needs: a table of looks at what the server has and who uses it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from actors.reaper.decide import Shelf, libraries_used, removable, shelved
from actors.reaper.libraries import look_every_ms
from contracts.limits import LIBRARIES_REMEMBERED, LIBRARY_BACK_MS, LIBRARY_LOOK_MS_MAX, TICK_MS

KEEP_MS = 1_000
Look = tuple[int, str, str | None]
"""The reaper's clock; what the server has, and what is used, as words; None: in doubt."""


def after(*looks: Look, before: Shelf | None = None) -> Shelf:
    shelf = before or Shelf()
    for now_ms, stored, used in looks:
        names = None if used is None else frozenset(used.split())
        shelf = shelved(shelf, stored.split(), names, now_ms=now_ms)
    return shelf


@pytest.mark.req("REA-1")
@pytest.mark.parametrize(
    ("looks", "gone"),
    [
        pytest.param([(0, "old new", "new")], [], id="one look shows nothing"),
        pytest.param([(0, "old new", "new"), (999, "old new", "new")], [], id="not long enough"),
        pytest.param([(0, "old new", "new"), (1_000, "old new", "new")], ["old"], id="long enough"),
        pytest.param([(0, "old new", "old new"), (9_000, "old new", "old new")], [], id="both used"),
        pytest.param(
            [(0, "old new", "new"), (900, "old new", "old new"), (1_800, "old new", "new")],
            [], id="used in between",
        ),
        pytest.param(
            [(0, "old new", "new"), (900, "old new", None), (1_800, "old new", "new")],
            [], id="doubt in between",
        ),
        pytest.param(
            [(0, "old new", "new"), (900, "new", "new"), (1_800, "old new", "new")],
            [], id="gone in between",
        ),
        pytest.param(
            [(0, "a b new", "new"), (1_000, "a b new", "new")], ["a", "b"], id="several at once"
        ),
        pytest.param([(0, "old", "new"), (1_000, "old", "new")], ["old"], id="ours is not there"),
    ],
)  # fmt: skip
def test_a_library_goes_when_nobody_was_seen_to_use_it_for_as_long_as_it_is_kept(
    looks: list[Look], gone: list[str]
) -> None:
    assert removable(after(*looks), keep_ms=KEEP_MS, now_ms=looks[-1][0]) == gone


def test_one_that_came_back_without_an_instance_is_left_for_longer() -> None:
    removed = after((0, "old new", "new")).without("old")
    back = after((2_000, "old new", "new"), before=after((1_000, "new", "new"), before=removed))
    assert removable(back, keep_ms=KEEP_MS, now_ms=1_999 + LIBRARY_BACK_MS) == []
    assert removable(back, keep_ms=KEEP_MS, now_ms=2_000 + LIBRARY_BACK_MS) == ["old"]
    longer_ms = 2 * LIBRARY_BACK_MS
    assert removable(back, keep_ms=longer_ms, now_ms=2_000 + LIBRARY_BACK_MS) == []


def test_one_that_instances_used_again_is_like_any_other_afterwards() -> None:
    removed = after((0, "old new", "new")).without("old")
    again = after((1_000, "old new", "old new"), (2_000, "old new", "new"), before=removed)
    assert again.removed == ()
    assert removable(again, keep_ms=KEEP_MS, now_ms=3_000) == ["old"]


def test_so_many_removed_ones_are_remembered_and_the_oldest_is_forgotten() -> None:
    shelf = Shelf()
    for n in range(LIBRARIES_REMEMBERED + 1):
        shelf = shelf.without(f"l{n}")
    assert shelf.removed == tuple(f"l{n}" for n in range(1, LIBRARIES_REMEMBERED + 1))


ME: Mapping[str, Any] = {"library": "new"}


@pytest.mark.parametrize(
    ("abouts", "used"),
    [
        pytest.param({"me": ME}, {"new"}, id="alone"),
        pytest.param({"me": ME, "r": {"library": "old"}}, {"new", "old"}, id="two versions"),
        pytest.param({"me": ME, "r": {"version": "0.0.9"}}, None, id="one that does not say"),
        pytest.param({"r": {"library": "old"}}, None, id="the data have forgotten us"),
        pytest.param({}, None, id="the data are lost"),
    ],
)
def test_who_is_in_doubt_takes_every_library_for_used(
    abouts: Mapping[str, Mapping[str, Any]], used: set[str] | None
) -> None:
    assert libraries_used(abouts, "me") == used


@pytest.mark.parametrize(
    ("keep_ms", "period"),
    [
        (1_000, TICK_MS),
        (8_000, 2_000),
        (600_000, LIBRARY_LOOK_MS_MAX),
        (10**9, LIBRARY_LOOK_MS_MAX),
    ],
)
def test_it_is_looked_often_enough_and_never_faster_than_anybody_polls(
    keep_ms: int, period: int
) -> None:
    assert look_every_ms(keep_ms) == period
