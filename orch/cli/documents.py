"""How a file or stdin becomes a job spec's document: YAML 1.2 or JSON, one meaning only.

Refused: duplicate keys, more than 1 MiB, values that JSON cannot carry. Dates and `no` stay the words they
are. Relative `cwd` and `path` are resolved here, because only here is known what they are relative to;
everything else about the spec is judged by the server.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from contracts import limits
from contracts.errors import ErrorCode, Refused

if TYPE_CHECKING:
    from ruamel.yaml import YAML

STDIN: Final = "-"
_WITH_CWD: Final = frozenset({"command", "steps"})


def read_spec(source: str) -> dict[str, Any]:
    """The spec in a file, or in stdin for `-`.

    Raises:
        Refused: INVALID_REQUEST for a file that cannot be read, PAYLOAD_TOO_LARGE, INVALID_SPEC.
    """
    document = _object_in(source, "a job spec")
    return resolved(document, base=_base_of(source), cwd=Path.cwd())


def read_schedule(source: str) -> dict[str, Any]:
    """The schedule in a file, or in stdin for `-`; its template is read as a job spec is.

    Raises:
        Refused: as `read_spec`.
    """
    document = _object_in(source, "a schedule")
    template = document.get("spec")
    if not isinstance(template, dict):
        return document  # the server says what is wrong with it
    spec = resolved(template, base=_base_of(source), cwd=Path.cwd())
    return {**document, "spec": spec}


def _object_in(source: str, what: str) -> dict[str, Any]:
    document = parse_document(_read(source), name="stdin" if source == STDIN else source)
    if not isinstance(document, dict):
        raise _invalid("$", f"{what} is an object, not {_kind(document)}")
    return document


def _base_of(source: str) -> Path:
    return Path.cwd() if source == STDIN else Path(source).absolute().parent


def _read(source: str) -> bytes:
    try:
        if source == STDIN:
            raw = sys.stdin.buffer.read(limits.SPEC_BYTES_MAX + 1)
        else:
            with Path(source).open("rb") as file:
                raw = file.read(limits.SPEC_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise Refused(
            ErrorCode.INVALID_REQUEST,
            f"cannot read {source}: {why}",
            hint="Give a YAML or JSON file, or - for stdin; `orch init` writes an example.",
        ) from None
    if len(raw) > limits.SPEC_BYTES_MAX:
        raise Refused(
            ErrorCode.PAYLOAD_TOO_LARGE,
            f"{source} is larger than {limits.SPEC_BYTES_MAX} bytes",
            details={"bytes_max": limits.SPEC_BYTES_MAX},
        )
    return raw


def parse_document(raw: bytes, *, name: str) -> object:
    """The one document in `raw`, made of what JSON has."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _invalid("$", f"{name} is not UTF-8 text (byte {error.start})") from None
    try:
        if text.lstrip()[:1] in {"{", "["}:
            return _plain(_json(text, must=name.endswith(".json")))
        return _plain(_json(text, must=True) if name.endswith(".json") else _yaml(text))
    except RecursionError:
        raise _invalid("$", f"nested deeper than {limits.JSON_DEPTH_MAX} levels") from None


# ---------------------------------------------------------------- JSON


def _json(text: str, *, must: bool) -> object:
    """As JSON; text that only looks like it (a YAML flow mapping) is read as YAML unless it must be JSON."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_constant)
    except json.JSONDecodeError as error:
        if must:
            raise _invalid(
                "$", f"no JSON: {error.msg} (line {error.lineno}, column {error.colno})"
            ) from None
        return _yaml(text)
    except ValueError as error:  # an integer of thousands of digits
        raise _invalid("$", str(error)) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for key, value in pairs:
        if key in document:
            raise _invalid(key, "duplicate key")
        document[key] = value
    return document


def _constant(name: str) -> object:
    raise _invalid("$", f"{name} is not a JSON number")


# ---------------------------------------------------------------- YAML


def _reader() -> YAML:
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import SafeConstructor

    class Words(SafeConstructor):  # type: ignore[misc,unused-ignore]  # untyped base
        """A date is a word: JSON has none."""

    Words.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = Words
    return yaml


def _yaml(text: str) -> object:
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        document: object = _reader().load(text)
    except DuplicateKeyError as error:
        raise _invalid("$", f"duplicate key{_where(error)}") from None
    except MarkedYAMLError as error:
        raise _invalid("$", f"no YAML: {error.problem or error.context}{_where(error)}") from None
    except (YAMLError, ValueError, TypeError) as error:
        raise _invalid("$", f"no YAML: {str(error).partition(chr(10))[0]}") from None
    return document


def _where(error: Any) -> str:
    mark = error.problem_mark
    return "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"


# ---------------------------------------------------------------- what JSON can carry


def _plain(document: object) -> object:
    """`document` again, or a refusal. Aliases are spelled out, within the size a spec may have."""
    left = limits.SPEC_BYTES_MAX

    def walk(value: object, path: str, depth: int) -> object:
        nonlocal left
        left -= 1 + (len(value) if isinstance(value, str) else 0)
        if left < 0:
            raise _invalid(
                "$", f"with its aliases spelled out, larger than {limits.SPEC_BYTES_MAX} bytes"
            )
        if depth > limits.JSON_DEPTH_MAX:
            raise _invalid(path, f"nested deeper than {limits.JSON_DEPTH_MAX} levels")
        match value:
            case dict():
                return {
                    _key(k, path): walk(v, _below(path, k), depth + 1) for k, v in value.items()
                }
            case list():
                return [walk(item, _below(path, i), depth + 1) for i, item in enumerate(value)]
            case _:
                return _scalar(value, path)

    return walk(document, "$", 0)


def _below(path: str, key: object) -> str:
    return str(key) if path == "$" else f"{path}.{key}"


def _key(key: object, path: str) -> str:
    if isinstance(key, str):
        return str(_scalar(key, path))
    raise _invalid(path, f"the key {str(key)[:80]} is no string; put it in quotes")


def _scalar(value: object, path: str) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        raise _invalid(path, "not a finite number")
    if isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
        raise _invalid(path, "half of a surrogate pair is no character")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise _invalid(path, f"{_kind(value)} is nothing that JSON has")


def _kind(value: object) -> str:
    names = {"NoneType": "empty", "str": "a word", "list": "a list", "int": "a number"}
    return names.get(type(value).__name__, type(value).__name__)


def _invalid(path: str, message: str) -> Refused:
    return Refused(ErrorCode.INVALID_SPEC, f"{path}: {message}", details={"path": path})


# ---------------------------------------------------------------- paths


def resolved(document: dict[str, Any], *, base: Path, cwd: Path) -> dict[str, Any]:
    """`document` with absolute adapter.config.cwd and path; a command without cwd runs where we stand."""
    adapter = document.get("adapter")
    config = adapter.get("config") if isinstance(adapter, dict) else None
    if not isinstance(adapter, dict) or not isinstance(config, dict):
        return document  # the server says what is wrong with it
    absolute = {
        key: str((base / Path(config[key]).expanduser()).resolve())
        for key in ("cwd", "path")
        if isinstance(config.get(key), str) and "\0" not in config[key]
    }
    if config.get("cwd") is None and adapter.get("name") in _WITH_CWD:
        absolute["cwd"] = str(cwd)
    return {**document, "adapter": {**adapter, "config": {**config, **absolute}}}
