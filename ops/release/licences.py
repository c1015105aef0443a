"""`python -m ops.release.licences`: may we ship all that we ship? One line a package, 1 if one may not.

What counts, in this order: what we have read and stated (ops/licences.toml), the field License-Expression,
then the field License and the classifiers if they all mean one licence. Anything else is unknown, and
unknown is refused.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ops.release import ROOT, NotReleasableError, ended
from ops.release.locked import Locked, field, installed, locked
from ops.release.spdx import canonical, fits

POLICY: Final = ROOT / "ops" / "licences.toml"
_SHOWN: Final = 60
"""Of what a package says in words of its own; some put their whole text there."""


def _expression(text: str) -> str:
    found = canonical(text)
    if found is None:
        raise ValueError(f"{text!r} is no SPDX expression")
    return found


Expression = Annotated[str, AfterValidator(_expression)]
Reason = Annotated[str, Field(min_length=10, max_length=300)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Stated(_Strict):
    """What somebody has read in the package."""

    version: str
    licence: Expression
    why: Reason


class Excepted(_Strict):
    """Not allowed in general, but here."""

    licence: Expression
    why: Reason


class Policy(_Strict):
    """ops/licences.toml."""

    allowed: frozenset[Expression]
    words: Mapping[str, Expression] = Field(default_factory=dict)
    stated: Mapping[str, Stated] = Field(default_factory=dict)
    excepted: Mapping[str, Excepted] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Licence:
    """What we know of one package."""

    expression: str | None
    """Canonical SPDX; None: it is not known."""
    source: str
    """Where it stands, or what stood there instead of an answer."""

    @property
    def is_stated(self) -> bool:
        """Ours, not the package's own word."""
        return self.source == "stated"


def policy(path: Path = POLICY) -> Policy:
    """The list, read strictly.

    Raises:
        NotReleasableError: not TOML, an unknown key, no SPDX expression, a reason that is none.
    """
    try:
        return Policy.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:  # of pydantic, of TOML, of UTF-8
        said = " ".join(str(error).split())
        raise NotReleasableError(f"{path.name} cannot be read: {said[:400]}") from error


def licence_of(one: Locked, found: Distribution | None, rules: Policy) -> Licence:
    """What is known of the licence of a locked package."""
    if one.name in rules.stated:
        return Licence(rules.stated[one.name].licence, "stated")
    if found is None:
        return Licence(None, "it is not installed here")
    if found.version != one.version:
        return Licence(None, f"{found.version} is installed")
    if text := field(found, "License-Expression"):
        return Licence(canonical(text), "License-Expression")
    return _in_words(found, rules)


def _in_words(found: Distribution, rules: Policy) -> Licence:
    """Metadata from before there were expressions: every word has to mean the same licence."""
    words = [text for text in found.metadata.get_all("Classifier") or () if _is_licence(text)]
    text = field(found, "License")
    if text not in ("", "UNKNOWN") and ("\n" not in text or not words):
        words.append(text)
    meant = {rules.words.get(word) or canonical(word) for word in words}
    if len(meant) == 1 and (only := meant.pop()):
        return Licence(only, "License, classifiers")
    said = "; ".join(word.splitlines()[0][:_SHOWN] for word in words) or "nothing"
    return Licence(None, f"it says {said}")


def _is_licence(classifier: str) -> bool:
    return classifier.startswith("License ::") and classifier != "License :: OSI Approved"


def verdict(one: Locked, licence: Licence, rules: Policy) -> str | None:
    """Why we may not ship a package; None: we may."""
    head = f"{one.name} {one.version}"
    stated, excepted = rules.stated.get(one.name), rules.excepted.get(one.name)
    if stated and stated.version != one.version:
        return f"{head}: its licence was read at {stated.version}: read it again, and state it"
    if licence.expression is None:
        return f"{head}: licence unknown ({licence.source}): read it, and state it in {POLICY.name}"
    if fits(licence.expression, rules.allowed):
        return f"{head}: excepted, and allowed without: take it out" if excepted else None
    if excepted and excepted.licence == licence.expression:
        return None
    return f"{head}: {licence.expression} is not allowed ({licence.source})"


def leftovers(shipped: list[Locked], rules: Policy) -> Iterator[str]:
    """Lines of the list that speak of no package any more."""
    names = {one.name for one in shipped}
    for kind, rows in (("stated", rules.stated), ("excepted", rules.excepted)):
        for name in sorted(rows.keys() - names):
            yield f"{name}: {kind} in {POLICY.name}, and not shipped: take it out"


def judged(
    shipped: list[Locked], found: Mapping[str, Distribution], rules: Policy
) -> tuple[list[str], list[str]]:
    """A line for each package, and the faults."""
    lines, faults = [], list(leftovers(shipped, rules))
    for one in shipped:
        licence = licence_of(one, found.get(one.name), rules)
        fault = verdict(one, licence, rules)
        faults += [fault] if fault else []
        shown = licence.expression or "unknown"
        lines.append(f"{one.name:36} {one.version:14} {shown:34} {licence.source}")
    return lines, faults


def _act() -> None:
    lines, faults = judged(locked(), installed(), policy())
    sys.stdout.writelines(f"{line}\n" for line in lines)
    if faults:
        raise NotReleasableError("\n".join(faults))


if __name__ == "__main__":
    sys.exit(ended(_act))
