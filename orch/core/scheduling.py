"""How classes share a pool: the policy every dispatching function gets as an argument."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from contracts.errors import ErrorCode, Refused
from contracts.ids import is_id
from contracts.limits import PRIORITY_CLASSES_MAX


@dataclass(frozen=True, slots=True)
class PriorityClass:
    """A named share of a pool."""

    name: str
    weight: int


@dataclass(frozen=True, slots=True)
class SchedulingPolicy:
    """Classes from highest to lowest, and how they share."""

    classes: tuple[PriorityClass, ...]
    default_class: str
    strict: bool
    aging_ms: int

    def text(self) -> str:
        """As the Lua function `dispatch` takes it."""
        words = [f"{one.name}:{one.weight}" for one in self.classes]
        return " ".join(["strict" if self.strict else "fair", str(self.aging_ms), *words])

    def class_of(self, wanted: str | None) -> str:
        """The class of a job that wants `wanted`, or nothing in particular.

        Raises:
            Refused: INVALID_SPEC at `priority`, when there is no such class.
        """
        if wanted is None:
            return self.default_class
        if any(one.name == wanted for one in self.classes):
            return wanted
        known = ", ".join(one.name for one in self.classes)
        raise Refused(
            ErrorCode.INVALID_SPEC,
            f"priority: there is no class {wanted!r}; there are {known}",
            details={"path": "priority"},
        )


def _class_from(word: str) -> PriorityClass:
    name, _, weight = word.partition(":")
    if not is_id(name) or not weight.isdecimal() or not 1 <= int(weight) <= 1_000:
        raise Refused(
            ErrorCode.INVALID_CONFIG,
            f"classes: {word!r} is not name:weight with a weight of 1 to 1000",
            details={"key": "classes", "value": word},
        )
    return PriorityClass(name, int(weight))


def scheduling_policy(
    words: Iterable[str], *, default_class: str, scheduling: str, aging_ms: int
) -> SchedulingPolicy:
    """The policy of the settings `classes`, `default_class`, `scheduling` and `aging_ms`.

    Raises:
        Refused: INVALID_CONFIG, when a class is malformed, doubled, or the default is none of them.
    """
    classes = tuple(_class_from(word) for word in words)
    names = [one.name for one in classes]
    if not 1 <= len(classes) <= PRIORITY_CLASSES_MAX or len(set(names)) != len(names):
        raise Refused(
            ErrorCode.INVALID_CONFIG,
            f"classes: 1 to {PRIORITY_CLASSES_MAX} different classes, not {names}",
            details={"key": "classes"},
        )
    if default_class not in names:
        raise Refused(
            ErrorCode.INVALID_CONFIG,
            f"default_class: {default_class!r} is none of {names}",
            details={"key": "default_class", "value": default_class},
        )
    return SchedulingPolicy(classes, default_class, scheduling == "strict", aging_ms)
