"""How a mutant gets into the running code: a text of a file is replaced, and what it says is what runs.

Lua: the changed file stands in the library that the simulated server loads. Python: the functions of the file
get the code of the changed text; they stay the same objects, so whoever imported them runs it too. Only the
process that plants is broken. A text that is not found exactly once is refused: then the catalogue is old.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from orch.store.library import ORDER, block_of, library

ROOT = Path(__file__).parents[3]
Rewrite = Callable[[str], str]


class Misfit(Exception):
    """The catalogue does not fit the code."""


@dataclass(frozen=True, slots=True)
class Change:
    """One text of one file, and what stands there in the mutant."""

    path: str
    """From the top of the repository."""
    old: str
    new: str

    def file(self) -> str:
        """The file as it is."""
        return (ROOT / self.path).read_text(encoding="utf-8")

    def changed_file(self) -> str:
        """The whole file of the mutant.

        Raises:
            Misfit: the text is not there exactly once.
        """
        text = self.file()
        if (count := text.count(self.old)) != 1:
            raise Misfit(f"{self.path} has {count} times, not once: {self.old!r}")
        return text.replace(self.old, self.new)


def plant(change: Change) -> Rewrite:
    """Breaks the Python of this process, or returns what is to become of a library on its way to the server.

    Raises:
        Misfit: the change does not fit the code, or reaches nothing that runs.
    """
    if change.path.endswith(".lua"):
        rewrite = partial(rewritten, change)
        rewrite(library().code)
        return rewrite
    for function, code in changed_functions(change):
        function.__code__ = code
    return lambda code: code


def rewritten(change: Change, code: str) -> str:
    """A library with the changed file in the place of the file.

    Raises:
        Misfit: it does not hold that file.
    """
    stem = Path(change.path).stem
    block = block_of(stem, change.file()) if stem in ORDER else change.path
    if code.count(block) != 1:
        raise Misfit(f"the library does not hold {change.path}")
    return code.replace(block, block_of(stem, change.changed_file()))


def changed_functions(change: Change) -> list[tuple[FunctionType, CodeType]]:
    """The functions of a module whose code is another one in the changed text.

    Raises:
        Misfit: there are none.
    """
    path, text = change.path, change.changed_file()
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    module_code = compile(text, str(ROOT / path), "exec")
    found = [(_function(module, code.co_qualname), code) for code in _codes(module_code)]
    changed = [(function, code) for function, code in found if function.__code__ != code]
    if not changed:
        raise Misfit(f"nothing that runs changes in {path}")
    return changed


def _codes(parent: CodeType) -> Iterator[CodeType]:
    """Of every function of a module and of its classes; those inside a function come with it."""
    for code in parent.co_consts:
        if not isinstance(code, CodeType) or code.co_name.startswith("<"):
            continue
        if code.co_flags & inspect.CO_OPTIMIZED:
            yield code
        else:
            yield from _codes(code)


def _function(module: ModuleType, qualname: str) -> FunctionType:
    found: Any = module
    for name in qualname.split("."):
        found = inspect.getattr_static(found, name)
    for wrapped in ("fget", "func", "__func__"):
        found = getattr(found, wrapped, found)
    found = inspect.unwrap(found)
    if not isinstance(found, FunctionType):
        raise Misfit(f"{module.__name__}.{qualname} is no function whose code could be changed")
    return found
