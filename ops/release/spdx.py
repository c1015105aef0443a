"""Does a licence expression of SPDX fit a list of allowed licences?

Reading and spelling is the work of `packaging`; this asks only: of an AND every part, of an OR one.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from typing import Final

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

EXPRESSION_CHARS_MAX: Final = 300
"""Longer is a text, not an expression."""


def canonical(text: str) -> str | None:
    """The expression in its usual spelling; None when it is none."""
    if len(text) > EXPRESSION_CHARS_MAX or "\n" in text:
        return None
    try:
        return str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return None


def fits(expression: str, allowed: AbstractSet[str]) -> bool:
    """Whether somebody who accepts only these licences may take it.

    `expression` is canonical. `X WITH Y` is a licence of its own, and has to be allowed in these words.
    """
    words = re.findall(r"[()]|[^\s()]+", expression)
    verdict = _either(words, allowed)
    assert not words, f"{expression!r} is not canonical"
    return verdict


def _either(words: list[str], allowed: AbstractSet[str]) -> bool:
    verdict = _both(words, allowed)
    while words[:1] == ["OR"]:
        words.pop(0)
        other = _both(words, allowed)  # read in any case, or its words would stay
        verdict = verdict or other
    return verdict


def _both(words: list[str], allowed: AbstractSet[str]) -> bool:
    verdict = _one(words, allowed)
    while words[:1] == ["AND"]:
        words.pop(0)
        other = _one(words, allowed)
        verdict = verdict and other
    return verdict


def _one(words: list[str], allowed: AbstractSet[str]) -> bool:
    word = words.pop(0)
    if word == "(":
        verdict = _either(words, allowed)
        closing = words.pop(0)
        assert closing == ")", "a canonical expression closes what it opens"
        return verdict
    if words[:1] == ["WITH"]:
        word = " ".join((word, words.pop(0), words.pop(0)))
    return word in allowed
