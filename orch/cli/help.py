"""What `--help` prints, from the same command tree that is run, without importing rich."""

from __future__ import annotations

import inspect
import shutil
import textwrap
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any, Final

from cyclopts import App

from contracts.defaults import DEFAULTS
from orch.values import bound_of, word_of

FLAGS: Final = ("--help", "-h")
_GUTTER: Final = 2
_LABEL_MAX: Final = 28


def asks_for_help(argv: Sequence[str]) -> bool:
    """Whether help is asked for: a help flag before `--`, or a family of commands without a command."""
    words = list(argv)
    before = words[: words.index("--")] if "--" in words else words
    return any(flag in before for flag in FLAGS) or words in (
        [],
        ["config"],
        ["control"],
        ["dead-letter"],
    )


def help_text(app: App, argv: Sequence[str]) -> str:
    """The help of the command that `argv` names."""
    words = [word for word in argv if word not in FLAGS]
    chain, path, rest = app.parse_commands(words)
    command = path[-1]
    if command.default_command is None:
        if rest and not rest[0].startswith("-"):
            app(words, exit_on_error=False, print_error=False)  # raises: no such command
        return "\n".join(_tree(command, chain))
    return "\n".join(_command(command, chain))


def _tree(app: App, chain: Sequence[str]) -> Iterator[str]:
    yield f"Usage: {' '.join(['orch', *chain])} COMMAND"
    yield from ("", app.help, "", "Commands:")
    yield from _rows([(name, app[name].help) for name in app if not name.startswith("-")])
    yield from (
        "",
        "`orch COMMAND --help` says more. Exit codes: 0 ok, 1 job failed, 4 answer needed,",
    )
    yield "6 bad input or not found, 7 server or dependency missing, 8 not authorised, 130 interrupted."


def _command(app: App, chain: Sequence[str]) -> Iterator[str]:
    positional: list[tuple[str, str]] = []
    options: list[tuple[str, str]] = []
    settings: list[tuple[str, str]] = []
    for argument in app.assemble_argument_collection():
        name, about = argument.names[0], argument.parameter.help or ""
        kind = argument.field_info.kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            options.append(("--KEY VALUE", about))
            settings = list(_settings())
        elif not name.startswith("-"):
            if name != "*":
                positional.append((name, about))
        else:
            label = ", ".join(n for n in argument.names if not n.startswith("--empty-"))
            options.append((label + _metavar(argument.hint), about))
    yield " ".join(
        ["Usage: orch", *chain, *("[OPTIONS]" for _ in options[:1]), *(n for n, _ in positional)]
    )
    yield from ("", app.help)
    document = inspect.getdoc(app.default_command) or ""
    more = document.partition("\n")[2].strip("\n")
    if more:
        yield from ("", more)
    if positional:
        yield from ("", "Arguments:", *_rows(positional))
    if options:
        yield from ("", "Options:", *_rows(options))
    if settings:
        yield from ("", "Settings:", *_rows(settings))


def _settings() -> Iterator[tuple[str, str]]:
    """Every setting as a flag, with its default and its bounds."""
    for row in DEFAULTS.values():
        default = f"Default: {word_of(row.value)}" if word_of(row.value) else "No default"
        yield f"--{row.key.replace('_', '-')}", f"{row.meaning} {default}; {bound_of(row)}."


def _metavar(hint: Any) -> str:
    inner = [part for part in typing.get_args(hint) if part is not types.NoneType]
    if typing.get_origin(hint) in {typing.Union, types.UnionType} and len(inner) == 1:
        return _metavar(inner[0])
    if typing.get_origin(hint) is typing.Literal:
        return " " + "|".join(str(word) for word in inner)
    names = {bool: "", int: " N", float: " SECONDS"}
    return names.get(hint, " TEXT")


def _rows(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    label_width = min(max(len(label) for label, _ in rows), _LABEL_MAX)
    indent = " " * (2 * _GUTTER + label_width)
    width = max(min(shutil.get_terminal_size().columns, 110), 60)
    for label, about in rows:
        lines = textwrap.wrap(about, width - len(indent)) or [""]
        head = " " * _GUTTER + label.ljust(label_width + _GUTTER)
        if len(label) > label_width:
            yield head.rstrip()
            head = indent
        yield (head + lines[0]).rstrip()
        yield from (indent + line for line in lines[1:])
