"""What an `http` job may ask for is judged before it is admitted (ADM-6)."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.adapters import HttpConfig
from contracts.errors import ErrorCode, Refused
from contracts.spec import content_of, parse_spec

URL = "http://model.internal:8000/v1/chat/completions?x=1"


def spec(**config: Any) -> Any:
    return {"name": "n", "adapter": {"name": "http", "config": {"url": URL, **config}}}


@pytest.mark.req("ADM-6", "RUN-1")
def test_a_whole_config_is_taken_as_it_is_written() -> None:
    config = {
        "method": "PUT",
        "headers": {"X-A": "1"},
        "secret_headers": {"Authorization": "API_KEY"},
        "json": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
        "mode": "json",
        "expect": [200, 409],
        "result": "/choices/0/a~1b",
        "wall_ms": 1,
        "idle_ms": 2,
        "connect_ms": 3,
    }
    parsed = parse_spec(spec(**config))
    assert content_of(parsed)["adapter"]["config"] == {"url": URL, **config}
    made = HttpConfig.model_validate(parsed.adapter.config)
    assert (made.document, made.has_document) == (config["json"], True)
    assert HttpConfig.model_validate({"url": URL, "json": None}).has_document


@pytest.mark.req("ADM-6", "CON-3")
@pytest.mark.parametrize(
    ("config", "path", "word"),
    [
        ({"url": "ftp://x/"}, "url", "http"),
        ({"url": "http://"}, "url", "http"),
        ({"url": "http://me:hunter2@x/"}, "url", "secret_headers"),
        ({"url": "http://x/#part"}, "url", "fragment"),
        ({"url": "http://x/" + "y" * 8_192}, "url", "8192"),
        ({"method": "TRACE"}, "method", "GET"),
        ({"json": 1, "body": "x"}, None, "two bodies"),
        ({"method": "GET", "json": None}, None, "no body"),
        ({"headers": {"A b": "x"}}, "headers", "pattern"),
        ({"headers": {"A": "x\r\nB: y"}}, "headers.A", "pattern"),
        ({"headers": {"Host": "elsewhere"}}, None, "host"),
        ({"headers": {"transfer-encoding": "chunked"}}, None, "transfer-encoding"),
        ({"headers": {"X": "1", "x": "2"}}, None, "same name"),
        ({"headers": {"X": "1"}, "secret_headers": {"x": "KEY"}}, None, "same name"),
        ({"secret_headers": {"X": "a secret itself"}}, "secret_headers.X", "pattern"),
        ({"headers": {f"X{n}": "" for n in range(65)}}, "headers", "64"),
        ({"expect": []}, "expect", "1"),
        ({"expect": [100]}, "expect.0", "200"),
        ({"result": "a"}, "result", "pattern"),
        ({"result": "/a~2"}, "result", "pattern"),
        ({"result": "/a", "mode": "sse"}, None, "JSON"),
        ({"connect_ms": 0}, "connect_ms", "1"),
        ({"mode": "xml"}, "mode", "json"),
        ({"document": 1}, "document", "unknown key"),
    ],
)
def test_what_no_request_can_be_is_refused_with_its_place(
    config: dict[str, Any], path: str | None, word: str
) -> None:
    with pytest.raises(Refused) as refused:
        parse_spec(spec(**config))
    assert refused.value.code is ErrorCode.INVALID_SPEC
    place = "adapter.config" + (f".{path}" if path else "")
    assert str((refused.value.details or {})["path"]).startswith(place)
    assert word in refused.value.message
    assert "hunter2" not in str(refused.value.body())
