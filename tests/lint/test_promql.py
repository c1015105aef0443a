"""Which metrics and labels a query names, as our reader and as a whole parser of PromQL see it."""

from __future__ import annotations

from typing import Any, Final

import pytest

from orch.lint.promql import BadQuery, names_in, plain

QUERIES: Final = (
    "up",
    "sum(rate(a_total[5m]))",
    'sum by (pool, class) (rate(a_total{pool=~"x|y",class!="z"}[$__rate_interval]))',
    "sum without (instance) (a) / on (pool) group_left (version) b",
    'topk(5, avg by (x) (rate(a_bucket{le="0.5"}[1h30m] offset 5m)))',
    "histogram_quantile(0.99, sum by (le, pool) (rate(a_bucket[5m]))) > 1.5e3",
    "a and on (x) b or ignoring (y) c unless d",
    "max_over_time((a - b)[1h:1m]) == bool 1",
    "{__name__=\"a\",x='y'} @ end()",
    "-a + +b ^ 2 % c atan2 d",
    "absent(a{x=`y`}) # because: {nothing}",
    'count_values("version", a)',
    "quantile by (x) (0.9, a) * ignoring (z) group_right b",
    'label_replace(a, "to", "$1", "from", "(.*)")',
    "a offset -1d and b @ 1609746000",
    "vector(Inf) > NaN and a",
    "by_the_way + on_top + offset_by",
)


def selectors_of(node: Any) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    """Of the other parser's tree."""
    found = []
    for selector in _selectors(node):
        names = [(m.name, m.value) for m in selector.matchers.matchers]
        metric = selector.name or dict(names)["__name__"]
        found.append((metric, tuple(sorted(n for n in names if n[0] != "__name__"))))
    return found


def _selectors(node: Any) -> list[Any]:
    if hasattr(node, "matchers"):
        return [node]
    below = [
        getattr(node, name, None)
        for name in ("expr", "lhs", "rhs", "vector_selector", "vs", "param")
    ]
    below += list(getattr(node, "args", None) or ())
    return [one for child in below if child is not None for one in _selectors(child)]


@pytest.mark.req("MET-1")
@pytest.mark.parametrize("query", QUERIES)
def test_it_sees_the_selectors_that_a_parser_of_promql_sees(query: str) -> None:
    parser = pytest.importorskip("promql_parser", reason="promql-parser is not installed")
    ours = [
        (one.metric, tuple(sorted((label, value) for label, _, value in one.matchers)))
        for one in names_in(query).selectors
    ]
    assert sorted(ours) == sorted(selectors_of(parser.parse(plain(query))))


NAMED: Final = {
    QUERIES[2]: ({"a_total"}, {"pool", "class"}),
    QUERIES[3]: ({"a", "b"}, {"instance", "pool", "version"}),
    QUERIES[6]: ({"a", "b", "c", "d"}, {"x", "y"}),
    QUERIES[7]: ({"a", "b"}, set()),
    QUERIES[8]: ({"a"}, set()),
    QUERIES[10]: ({"a"}, set()),
    QUERIES[12]: ({"a", "b"}, {"x", "z"}),
    QUERIES[13]: ({"a"}, set()),
    QUERIES[15]: ({"a"}, set()),
    QUERIES[16]: ({"by_the_way", "on_top", "offset_by"}, set()),
}


@pytest.mark.req("MET-1")
@pytest.mark.parametrize("query", NAMED)
def test_it_tells_metrics_from_functions_groupings_and_keywords(query: str) -> None:
    named = names_in(query)
    assert ({one.metric for one in named.selectors}, set(named.grouped)) == NAMED[query]


@pytest.mark.req("MET-1")
@pytest.mark.parametrize(
    "query", ["a{", "a{x}", "a{x=y}", "sum by (a", "a[5m", '{x="y"}', "a \\ b", "sum by (=) (a)"]
)
def test_what_it_cannot_read_it_refuses(query: str) -> None:
    with pytest.raises(BadQuery):
        names_in(query)
