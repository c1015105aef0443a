"""Bodies as strangers write them: the quick reader says what the careful one says, or leaves it to it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.gateway.body import _carefully, _quickly, parse_json
from contracts import limits
from contracts.errors import Refused

TEXTS = st.sampled_from(
    ["a", "b", "", "é", "\\u00e9", "\\u0061", "\\\\", '\\"', "\\u0022", "\\u005c", "\\ud800", "\\/", "\\n",
     "\\ud83d\\ude00", "😀", "\n", "\x7f", ":1.5", "[-0", "{", "}]", "\ufeff", "-", "1e5"]
)  # fmt: skip
STRINGS = st.lists(TEXTS, max_size=3).map(lambda parts: '"' + "".join(parts) + '"')
NUMBERS = st.sampled_from(
    ["0", "-0", "1", "01", "1.0", "-0.0", "1E5", "1E400", "-1e400", "1e-400", ".5", "null", "NaN",
     "9007199254740993", "-9223372036854775808", "-9223372036854775809", "18446744073709551615",
     "18446744073709551616", "123456789012345678901", "Infinity"]
) | st.floats().map(repr) | st.decimals(allow_nan=False, allow_infinity=False).map(str)  # fmt: skip
SPACES = st.sampled_from(["", "", "", " ", "\n\t", "\r"])


def arrays(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(inner, max_size=3).map(lambda items: "[" + ",".join(items) + "]")


def objects(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(SPACES, STRINGS, SPACES, inner).map(lambda p: f"{p[0]}{p[1]}{p[2]}:{p[3]}")
    return st.lists(pair, max_size=4).map(lambda pairs: "{" + ",".join(pairs) + "}")


VALUES = st.recursive(
    st.tuples(SPACES, STRINGS | NUMBERS | st.sampled_from(["true", "false", "nul"])).map("".join),
    lambda inner: arrays(inner) | objects(inner),
    max_leaves=8,
)


def said_of(body: bytes) -> str:
    """As text, because 1, 1.0 and True are equal to Python; -0 is told from 0."""
    try:
        return repr(_carefully(body))
    except Refused as refused:
        return f"refused: {refused.message}"


@pytest.mark.req("API-4", "ADM-1")
@settings(max_examples=1_000)
@given(objects(VALUES) | VALUES)
def test_what_the_quick_reader_takes_the_careful_one_reads_alike(text: str) -> None:
    body = text.encode()
    document = _quickly(body)
    assert document is None or repr(document) == said_of(body)


@pytest.mark.req("API-4")
@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}',
        '{"a":{"b":1,"b":{"c":"d"}}}',
        '{"a":"\\"","a":"\\""}',
        '{"\\u0061":1,"a":2}',
        '{"a":1,"a":"\\u0022\\u0022"}',
        '{"a":1e400}',
        '{"a":18446744073709551616}',
        '{"a":"\\ud800"}',
        "[" * (limits.JSON_DEPTH_MAX + 1) + "]" * (limits.JSON_DEPTH_MAX + 1),
        '{"a":' * (limits.JSON_DEPTH_MAX + 1) + "1" + "}" * (limits.JSON_DEPTH_MAX + 1),
    ],
)
def test_what_is_unsound_is_refused_however_it_is_read(text: str) -> None:
    with pytest.raises(Refused):
        parse_json(text.encode())


@pytest.mark.req("API-4")
def test_the_quick_reader_takes_what_clients_send() -> None:
    spec = {
        "name": "é",
        "inputs": {"prompt": 'Say "hi"\nand go', "n": 3, "none": None, "yes": True},
    }
    for body in (
        json.dumps(spec),
        json.dumps(spec, indent=2),
        json.dumps(spec, ensure_ascii=False),
    ):
        assert _quickly(body.encode()) == spec
