"""What may a value of a setting be, as a test and in words?

One row of `contracts.defaults` and one value at a time; how settings relate, and where they come from, is
`orch.settings`. On the standard library alone, as that is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlunsplit

from contracts.defaults import Default
from contracts.ids import is_host_pattern, is_id, is_shard, is_variable
from contracts.limits import SHARD_MAX
from orch.addresses import address_of, split_url
from orch.core.listening import is_address
from orch.core.targets import is_rule

PATH_CHARS_MAX: Final = 4_096
REDIS_SCHEMES: Final = (
    "redis", "rediss", "unix",
    "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster",
)  # fmt: skip

_NO_URL: Final = "(not a URL)"


def without_password(url: str) -> str:
    """A URL as it may be printed or logged."""
    try:
        parts = split_url(url)
    except ValueError:
        return _NO_URL
    query = re.sub(r"((?:^|&)sentinel_password=)[^&]*", r"\1***", parts.query)
    if parts.password is None:
        return urlunsplit(parts._replace(query=query)) if query != parts.query else url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{host}", query=query))


def word_of(value: object) -> str:
    """A value as a word of the command line or the environment: empty for none, commas within a list."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float() if value.is_integer():
            return f"{value:.0f}"
        case tuple() | list():
            return ",".join(map(str, value))
        case _:
            return str(value)


def typed(row: Default, text: str) -> object:
    """The typed value that a word of the command line or the environment stands for."""
    match row.value:
        case bool():
            return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
        case int():
            return int(text) if re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII) else text
        case tuple():
            return [word.strip() for word in text.split(",")]
        case _:
            return text


def fits(row: Default, value: object) -> bool:
    """Whether a setting may have this value."""
    match row.value:
        case bool():
            return isinstance(value, bool)
        case int():
            return type(value) is int and _within(row, value)
        case tuple():
            return isinstance(value, list | tuple) and _fit_words(row, list(value))
        case _:
            return isinstance(value, str) and _fits_word(row, value)


def _within(row: Default, value: int) -> bool:
    low, high = row.minimum, row.maximum
    return (low is None or value >= low) and (high is None or value <= high)


def _fits_word(row: Default, word: str) -> bool:
    if row.choices is not None:
        return word in row.choices
    if row.unit == "name":
        return is_id(word)
    if row.unit == "address":
        return is_address(word)
    if row.unit == "path":
        return 0 < len(word) <= PATH_CHARS_MAX and word.isprintable()
    if row.unit == "url":
        return word.partition("://")[0] in REDIS_SCHEMES and _is_redis_url(word)
    return True


def _is_redis_url(word: str) -> bool:
    try:
        address_of(word)
    except ValueError:
        return False
    return without_password(word) != _NO_URL


def _fit_words(row: Default, words: list[object]) -> bool:
    texts = [word for word in words if isinstance(word, str)]
    names = [text.partition(":")[0] for text in texts] if row.unit == "name:weight" else texts
    _, is_fitting = _LISTS[row.unit]
    return (
        _within(row, len(words))
        and len(texts) == len(words) == len(set(names))
        and all(is_fitting(text) for text in texts)
    )


def _is_weighted(word: str) -> bool:
    name, _, weight = word.partition(":")
    return is_id(name) and bool(re.fullmatch(r"[1-9]\d{0,3}", weight, re.ASCII))


_LISTS: Final[Mapping[str, tuple[str, Callable[[str], bool]]]] = {
    "names": ("names", is_id),
    "name:weight": ("name:weight with weights from 1 to 9999", _is_weighted),
    "shards": (f"numbers of shards from 0 to {SHARD_MAX}", is_shard),
    "variables": ("names of variables", is_variable),
    "hosts": ("host names with *, addresses or networks", is_host_pattern),
    "rules": ("names, *.names, addresses or networks", is_rule),
}
"""What the words of a list setting must be, in words and as a test."""


def bound_of(row: Default) -> str:
    """What a value of this setting must be, in words."""
    if row.choices is not None:
        return "one of " + ", ".join(row.choices)
    if isinstance(row.value, bool):
        return "true or false"
    if isinstance(row.value, int):
        return f"a whole number from {_digits(row.minimum)} to {_digits(row.maximum)} ({row.unit})"
    if isinstance(row.value, tuple):
        shape, _ = _LISTS[row.unit]
        return f"a list of {_digits(row.minimum)} to {_digits(row.maximum)} different {shape}"
    return {
        "address": "an IP address or localhost",
        "path": "the path of a file",
        "name": "a name ([A-Za-z0-9][A-Za-z0-9._-]{0,63})",
        "url": "a URL: redis://, rediss://, unix://, redis+sentinel://hosts/service or redis+cluster://hosts",
    }.get(row.unit, "a string")


def _digits(bound: float | None) -> str:
    return "any" if bound is None else f"{bound:.0f}"
