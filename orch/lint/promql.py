"""Which metrics and labels does a PromQL query name?

A lexer and a few rules of the grammar: enough to tell a metric from a function, a grouping or a keyword,
without a parser that may not be installed. Whether a query is good PromQL is `promtool.py`'s question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_TOKEN: Final = re.compile(
    r"""
      (?P<skip> \s+ | \#[^\n]* )
    | (?P<string> "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' | `[^`]*` )
    | (?P<number> 0[xX][0-9a-fA-F]+
      | (?:\d+(?:ms|[smhdwy]))+ | \d+(?:\.\d*)?(?:[eE][+-]?\d+)? | \.\d+(?:[eE][+-]?\d+)? )
    | (?P<name> [A-Za-z_:][A-Za-z0-9_:]* )
    | (?P<mark> =~ | !~ | != | == | >= | <= | [-+*/%^<>=(){}\[\],:@] )
    """,
    re.VERBOSE,
)
_GROUPINGS: Final = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_KEYWORDS: Final = frozenset(
    {"and", "or", "unless", "bool", "offset", "atan2", "inf", "nan", "start", "end"}
)
_MATCHERS: Final = frozenset({"=", "!=", "=~", "!~"})
_VARIABLES: Final = (
    (re.compile(r"\$__(?:rate_interval|interval|range)\b|\$\{__(?:rate_interval|interval|range)\}"), "5m"),
    (re.compile(r"\$__range_s\b|\$__interval_ms\b"), "300"),
    (re.compile(r"\$\{[A-Za-z_]\w*(?::\w+)?\}|\$[A-Za-z_]\w*|\[\[\w+\]\]"), "x"),
)  # fmt: skip
"""Of Grafana, as PromQL: intervals, then a dashboard's own, which stand inside of strings."""


class BadQuery(ValueError):
    """It is no PromQL."""


@dataclass(frozen=True, slots=True)
class Selector:
    """One metric of a query, with the values its matchers name; an empty value is a pattern."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...] = ()
    """Label, operator, value."""


@dataclass(frozen=True, slots=True)
class Named:
    """What a query names."""

    selectors: tuple[Selector, ...]
    grouped: frozenset[str]
    """Labels of `by`, `without`, `on`, `ignoring`, `group_left` and `group_right`."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


def plain(query: str) -> str:
    """The query with Grafana's variables filled in."""
    for pattern, value in _VARIABLES:
        query = pattern.sub(value, query)
    return query


def names_in(query: str) -> Named:
    """Every metric and label of a query, Grafana's variables filled in.

    Raises:
        BadQuery: it cannot be read.
    """
    reader = _Reader(list(_tokens(plain(query))))
    return reader.read()


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise BadQuery(f"cannot be read from {text[at : at + 20]!r} on")
        at = found.end()
        if found.lastgroup != "skip":
            yield _Token(found.lastgroup, found.group())


class _Reader:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._selectors: list[Selector] = []
        self._grouped: set[str] = set()

    def read(self) -> Named:
        while self._at < len(self._tokens):
            self._step()
        return Named(tuple(self._selectors), frozenset(self._grouped))

    def _peek(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at].text if at < len(self._tokens) else ""

    def _next(self) -> _Token:
        if self._at >= len(self._tokens):
            raise BadQuery("ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def _step(self) -> None:
        token = self._next()
        if token.kind == "name":
            self._name(token.text)
        elif token.text == "{":
            self._select("")
        elif token.text == "[":
            # A range, or a subquery's range and step: durations only.
            while self._next().text != "]":
                pass

    def _name(self, word: str) -> None:
        is_grouping = word.lower() in _GROUPINGS
        if is_grouping and self._peek() == "(":
            self._next()
            self._labels()
        elif word.lower() in _KEYWORDS or is_grouping or self._peek() == "(":
            return
        elif self._peek(0).lower() in {"by", "without"} and self._peek(1) == "(":
            return  # an aggregation with its grouping in front
        elif self._peek() == "{":
            self._next()
            self._select(word)
        else:
            self._selectors.append(Selector(word))

    def _labels(self) -> None:
        while (token := self._next()).text != ")":
            if token.kind == "name":
                self._grouped.add(token.text)
            elif token.text != ",":
                raise BadQuery(f"{token.text!r} stands among the labels of a grouping")

    def _select(self, metric: str) -> None:
        matchers: list[tuple[str, str, str]] = []
        while (token := self._next()).text != "}":
            if token.text == ",":
                continue
            operator, value = self._next().text, self._next()
            if token.kind != "name" or operator not in _MATCHERS or value.kind != "string":
                raise BadQuery(f"no matcher: {token.text}{operator}{value.text}")
            if token.text == "__name__" and operator == "=":
                metric = value.text[1:-1]
            else:
                matchers.append((token.text, operator, value.text[1:-1]))
        if not metric:
            raise BadQuery("a selector without a metric: name it")
        self._selectors.append(Selector(metric, tuple(matchers)))
