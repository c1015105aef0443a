"""How classes share a pool: the policy every dispatching function gets as an argument."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from contracts.errors import ErrorCode, Refused
from contracts.ids import is_id
from contracts.limits import PRIORITY_CLASSES_MAX


@dataclass(frozen=True, slots=True)
class PriorityClass:
    """A named share of a pool."""

    name: str
    weight: int


@dataclass(frozen=True, slots=True)
class TiePolicy:
    """What binds jobs to each other, where neither the spec nor an operator says otherwise."""

    key_running_max: int = 1
    """Jobs of one concurrency key that are ready or running; at least 1."""
    tenant_running_max: int = 0
    """Jobs of one tenant that are ready or running; 0: any number."""
    session_policy: str = "enqueue"
    """How a new job meets the live jobs of its session: reject, enqueue, interrupt or replace."""

    def words(self) -> list[str]:
        """`name=value` for what is not the default."""
        return [
            f"{field.name}={getattr(self, field.name)}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]


@dataclass(frozen=True, slots=True)
class SchedulingPolicy:
    """Classes from highest to lowest, and how they share."""

    classes: tuple[PriorityClass, ...]
    default_class: str
    strict: bool
    aging_ms: int
    ties: TiePolicy = TiePolicy()

    def text(self) -> str:
        """As the Lua function `dispatch` takes it; what is as by default costs no word."""
        words = [f"{one.name}:{one.weight}" for one in self.classes]
        head = ["strict" if self.strict else "fair", str(self.aging_ms)]
        return " ".join([*head, *words, *self.ties.words()])

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
    words: Iterable[str],
    *,
    default_class: str,
    scheduling: str,
    aging_ms: int,
    ties: TiePolicy | None = None,
) -> SchedulingPolicy:
    """The policy of the settings `classes`, `default_class`, `scheduling`, `aging_ms` and those about ties.

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
    strict = scheduling == "strict"
    return SchedulingPolicy(classes, default_class, strict, aging_ms, ties or TiePolicy())
