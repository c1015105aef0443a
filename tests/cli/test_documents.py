"""What a spec file may look like, and what is made of it before it is sent (CON, ADM-6)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ErrorCode, Refused
from orch.cli.documents import parse_document, read_spec, resolved
from tests.cli.conftest import Orch


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ("a: no\nb: on\nc: yes", {"a": "no", "b": "on", "c": "yes"}),
        (
            "a: 2026-01-01\nb: 2026-01-01T10:00:00Z",
            {"a": "2026-01-01", "b": "2026-01-01T10:00:00Z"},
        ),
        (
            "a: true\nb: 12\nc: 1.5\nd: null\ne: ~",
            {"a": True, "b": 12, "c": 1.5, "d": None, "e": None},
        ),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("{a: [1, b]}", {"a": [1, "b"]}),
        ('{"a": "\\u00fc"}', {"a": "\N{LATIN SMALL LETTER U WITH DIAERESIS}"}),
        ('\ufeff{"a": 1}', {"a": 1}),
        ("- 1", [1]),
        ("", None),
    ],
)
def test_yaml_1_2_and_json_mean_what_they_say(text: str, document: object) -> None:
    assert parse_document(text.encode(), name="job.yaml") == document


@pytest.mark.parametrize(
    ("name", "raw", "words"),
    [
        ("j.yaml", b"a: 1\na: 2", "duplicate key (line 2"),
        ("j.yaml", b"a:\n  b: 1\n  b: 1", "duplicate key (line 3"),
        ("j.json", b'{"a": 1, "a": 2}', "a: duplicate key"),
        ("j.yaml", b'{"x": {"a": 1, "a": 1}}', "a: duplicate key"),
        ("j.json", b"a: 1", "no JSON"),
        ("j.json", b'{"a": NaN}', "NaN"),
        ("j.json", b'{"a": 1' + b"0" * 5_000 + b"}", "digits"),
        ("j.json", b'{"a": "\\ud800"}', "surrogate"),
        ("j.yaml", b"a: .inf", "finite"),
        ("j.yaml", b"1: a", "the key 1 is no string"),
        ("j.yaml", b"? [a]\n: 1", "is no string"),
        ("j.yaml", b"a: !!python/object/apply:os.system [ls]", "no YAML"),
        ("j.yaml", b"a: !!binary aGk=", "nothing that JSON has"),
        ("j.yaml", b"a: !!set {x, y}", "nothing that JSON has"),
        ("j.yaml", b"a: 1\n---\nb: 2", "no YAML"),
        ("j.yaml", b"a: [", "no YAML"),
        ("j.yaml", b"\x7fELF\x00\x01", "no YAML"),
        ("j.yaml", b"\xff\xfe\x00", "not UTF-8"),
        ("j.yaml", b"a: &a [*a]", "deep"),
        ("j.json", b"[" * 5_000 + b"]" * 5_000, "deep"),
        ("j.yaml", b"[" * 5_000, "deep"),
    ],
)
def test_what_two_readers_could_read_differently_is_refused(
    name: str, raw: bytes, words: str
) -> None:
    with pytest.raises(Refused) as refused:
        parse_document(raw, name=name)
    assert refused.value.code is ErrorCode.INVALID_SPEC
    assert words in refused.value.message
    assert "\n" not in refused.value.message


def test_aliases_that_spell_out_to_more_than_a_spec_are_refused() -> None:
    rows = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    rows += [
        f"{name}: &{name} [{','.join(['*' + before] * 9)}]"
        for before, name in zip("abcdefg", "bcdefgh", strict=True)
    ]
    with pytest.raises(Refused, match="aliases"):
        parse_document("\n".join(rows).encode(), name="bomb.yaml")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"argv": ["a"]}, {"argv": ["a"], "cwd": "/here"}),
        ({"argv": ["a"], "cwd": None}, {"argv": ["a"], "cwd": "/here"}),
        ({"argv": ["a"], "cwd": "sub"}, {"argv": ["a"], "cwd": "/spec/sub"}),
        ({"argv": ["a"], "cwd": ".."}, {"argv": ["a"], "cwd": "/"}),
        ({"argv": ["a"], "cwd": "/abs"}, {"argv": ["a"], "cwd": "/abs"}),
        ({"argv": ["a"], "cwd": 7}, {"argv": ["a"], "cwd": 7}),
    ],
)
def test_cwd_counts_from_the_file_and_is_here_when_missing(
    config: dict[str, Any], expected: dict[str, Any]
) -> None:
    document = {"name": "x", "adapter": {"name": "command", "config": config}}
    found = resolved(document, base=Path("/spec"), cwd=Path("/here"))
    assert found == {"name": "x", "adapter": {"name": "command", "config": expected}}
    assert document["adapter"] == {"name": "command", "config": config}


def test_path_of_a_python_job_counts_from_the_file_and_stays_away_when_missing() -> None:
    config = {"callable": "m:f", "path": "src"}
    document = {"adapter": {"name": "python", "config": config}}
    found = resolved(document, base=Path("/spec"), cwd=Path("/here"))
    assert found["adapter"]["config"] == {"callable": "m:f", "path": "/spec/src"}
    bare = {"adapter": {"name": "python", "config": {"callable": "m:f"}}}
    assert resolved(bare, base=Path("/spec"), cwd=Path("/here")) == bare


@pytest.mark.parametrize("document", [{}, {"adapter": 1}, {"adapter": {"name": "command"}}])
def test_a_spec_without_config_is_left_for_the_server_to_judge(document: dict[str, Any]) -> None:
    assert resolved(document, base=Path("/spec"), cwd=Path("/here")) == document


def test_a_file_at_the_bound_is_read_and_one_byte_more_is_too_large(tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    frame = len(json.dumps({"objective": ""}))
    file.write_text(json.dumps({"objective": "x" * (2**20 - frame - 2)}))
    assert len(read_spec(str(file))["objective"]) == 2**20 - frame - 2
    file.write_text(json.dumps({"objective": "x" * (2**20 - frame + 1)}))
    with pytest.raises(Refused) as refused:
        read_spec(str(file))
    assert refused.value.code is ErrorCode.PAYLOAD_TOO_LARGE


@pytest.mark.req("CLI-2")
def test_ten_megabytes_are_too_large_and_say_so_in_one_error(orch: Orch, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_bytes(b"a: b\n" * 2_000_000)
    ended = orch("submit", str(file), "--json")
    assert (ended.code, ended.err) == (6, "")
    body = json.loads(ended.out)
    assert (body["code"], body["details"]) == ("PAYLOAD_TOO_LARGE", {"bytes_max": 2**20})


@pytest.mark.req("CLI-2")
@pytest.mark.parametrize("name", ["none.yaml", ".", "none/none.yaml", "nul\0byte"])
def test_a_file_that_cannot_be_read_is_one_clear_error(
    orch: Orch, name: str, tmp_path: Path
) -> None:
    ended = orch("submit", f"{tmp_path}/{name}")
    assert (ended.code, ended.out) == (6, "")
    first, second = ended.err.splitlines()
    assert first.startswith("INVALID_REQUEST: cannot read ")
    assert "orch init" in second


@pytest.mark.req("CLI-2")
def test_rubbish_is_one_clear_error(orch: Orch, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_bytes(bytes(range(256)) * 8)
    ended = orch("submit", str(file))
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (6, "", 2)
    assert ended.err.startswith("INVALID_SPEC: $: ")
