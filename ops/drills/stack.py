"""One home and the stack in it, worked as an operator does: `orch` commands, HTTP, `/metrics`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, Final, TypeVar

from prometheus_client.parser import text_string_to_metric_families

from contracts.errors import ExitCode, OrchError, Unavailable
from ops.drills.children import ROOT, end, environ_of, start
from ops.drills.scene import Failed, Scene, pause, waited
from orch.cli.main import run
from orch.cli.stack import tail
from orch.client import OrchSync, find_endpoint, read_endpoint_file
from orch.demo.processes import SERVER, Process, children_of
from orch.system import monotonic_ms

T = TypeVar("T")

SINGLE_ROLES: Final = 6
"""Parts of a stack besides its runners."""
_ORCH: Final = (sys.executable, "-m", "orch.cli.main")
_ANSWER_S: Final = 2.0
_PATIENCE_S: Final = 60.0
_QUICK: Final = {"grace-ms": "1000"}


@dataclass(frozen=True, slots=True)
class Ended:
    """How one call of `orch` ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Its stdout as JSON."""
        return json.loads(self.out)


@dataclass(slots=True)
class Stack:
    """A home; `code` is where Orch itself comes from, `before` words of a program that starts it."""

    scene: Scene
    name: str
    flags: dict[str, str]
    """Settings by the names that `orch up` takes: `lease-ms`."""
    code: Path = ROOT
    before: Sequence[str] = ()
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _kept: OrchSync | None = field(default=None, init=False)
    """Of the gateway that was asked last."""

    @property
    def home(self) -> Path:
        """Where its data are."""
        return self.scene.root / self.name

    @property
    def log(self) -> Path:
        """What it says."""
        return self.scene.root / f"{self.name}.log"

    # -- its life

    def up(self) -> None:
        """`orch up`, until every part serves.

        Raises:
            Failed: it ended, or was not ready in time.
        """
        if not self.comes_up():
            raise Failed(f"the stack {self.name} does not come up: {self.last_words()}")

    def comes_up(self) -> bool:
        """`orch up`; False when it ended instead of serving, or took too long."""
        # In the foreground: what `--detach` leaves alone ends with the drill here.
        words = ["up", "--home", str(self.home)]
        words += [
            word for key, value in (_QUICK | self.flags).items() for word in (f"--{key}", value)
        ]
        self.scene.typed(["orch", *words])
        self._process = start(
            [*_ORCH, *words], self.log, cwd=self.scene.root, environ=environ_of(self.code),
            at_our_end=signal.SIGTERM, before=self.before,
        )  # fmt: skip
        waited(lambda: self.has_ended() or self._serves(), _PATIENCE_S)
        return not self.has_ended() and self._serves()

    def _serves(self) -> bool:
        """Whether each of its parts says so itself: the pools count the runners of other stacks too."""
        parts = self.endpoint().get("metrics", {})
        if len(parts) < SINGLE_ROLES + int(self.flags.get("runners", "1")):
            return False
        with suppress(OrchError):
            self._client().ready()
            return all(map(_is_well, parts.values()))
        return False

    def has_ended(self) -> bool:
        """Whether its supervisor is no more."""
        return self._process is None or self._process.poll() is not None

    def last_words(self) -> str:
        """Why it ended, as it says itself."""
        with suppress(OSError, ValueError, KeyError):
            body = json.loads((self.home / "up.error.json").read_bytes())
            return f"{body['code']}: {body['message']}"
        return tail(self.log, lines=8)

    def down(self) -> None:
        """`orch down`. Raises Failed when that fails."""
        self.orch("down")
        self.end()

    def end(self) -> None:
        """SIGTERM, unless it has ended; SIGKILL when that takes too long."""
        self._forget_client()
        if self._process is not None:
            end(self._process)

    def kill(self) -> None:
        """As a power cut: the server first, so that it cannot save, then the rest."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)  # or it would start the server again
        parts = sorted(self.parts().items(), key=lambda one: one[0] != SERVER)
        for part in (part for _, processes in parts for part in processes):
            with suppress(ProcessLookupError):
                os.kill(part.pid, signal.SIGKILL)
        end(self._process, signal.SIGKILL)

    # -- what runs

    @property
    def pid(self) -> int:
        """Its supervisor."""
        assert self._process is not None
        return self._process.pid

    def parts(self) -> dict[str, list[Process]]:
        """Its processes by role; `server` is the private Valkey."""
        found: dict[str, list[Process]] = {}
        for process in children_of(self.pid):
            found.setdefault(process.role, []).append(process)
        return found

    def endpoint(self) -> dict[str, Any]:
        """What endpoint.json says, as long as it is of this process; else nothing."""
        document = read_endpoint_file(self.home)
        is_ours = self._process is not None and (document or {}).get("pid") == self._process.pid
        return document if document is not None and is_ours else {}

    # -- what operators do

    def orch(self, *words: str, codes: Sequence[int] = (0,), show: bool = True) -> Ended:
        """`orch WORDS --home H`.

        Raises:
            Failed: its exit code is none of `codes`.
        """
        argv = [*words, "--home", str(self.home)]
        self.scene.typed(["orch", *argv])
        out, err = StringIO(), StringIO()
        # Here, and not as a program of its own: starting Python for each would take longer than the drill.
        with redirect_stdout(out), redirect_stderr(err):
            code = run(argv)
        ended = Ended(code, out.getvalue(), err.getvalue())
        if code == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
        if code not in codes:
            said = (ended.out + ended.err).strip()
            raise Failed(f"orch {' '.join(words)} ended with {code}: {said}")
        if show:
            self.scene.saw(ended.out)
        return ended

    def ask(self, question: Callable[[OrchSync], T], within_s: float = _PATIENCE_S) -> T:
        """What the gateway answers; asked again while it, or its server, is away.

        Only for what may be asked twice: reading, and submissions with an id.

        Raises:
            Failed: it stayed away. Refused: it said no.
        """
        until_ms = monotonic_ms() + int(within_s * 1_000)
        while True:
            try:
                return question(self._client())
            except Unavailable as error:
                if monotonic_ms() >= until_ms:
                    raise Failed(
                        f"the stack {self.name} does not answer: {error.message}"
                    ) from error
            pause()

    def _client(self) -> OrchSync:
        endpoint = find_endpoint(None, self.home, {})
        if self._kept is None or self._kept.endpoint != endpoint:
            self._forget_client()
            self._kept = OrchSync(endpoint)
        return self._kept

    def _forget_client(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    # -- its numbers

    def numbers(self, name: str, **labels: str) -> list[float]:
        """The metric as each part that answers tells it; all series that have these labels."""
        found: list[float] = []
        for url in self.endpoint().get("metrics", {}).values():
            with suppress(OSError), urllib.request.urlopen(url, timeout=_ANSWER_S) as answer:
                found += _values(answer.read().decode(), name, labels)
        return found

    def largest(self, name: str, **labels: str) -> float:
        """The largest of them, 0 without any."""
        return max(self.numbers(name, **labels), default=0.0)

    def total(self, name: str, **labels: str) -> float:
        """Their sum."""
        return sum(self.numbers(name, **labels))

    def said(self, event: str) -> list[str]:
        """The lines of its log that tell of this event."""
        with suppress(OSError):
            lines = self.log.read_text(errors="replace").splitlines()
            return [line for line in lines if f'"event": "{event}"' in line]
        return []


def _is_well(metrics_url: str) -> bool:
    """Whether a part is ready; one that operators drain is as it should be."""
    url = metrics_url.replace("/metrics", "/readyz")
    try:
        with urllib.request.urlopen(url, timeout=_ANSWER_S):
            return True
    except urllib.error.HTTPError as unready:
        return bool(json.loads(unready.read()).get("draining"))
    except OSError:
        return False


def _values(text: str, name: str, labels: dict[str, str]) -> list[float]:
    return [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]


def stack(
    scene: Scene,
    name: str = "home",
    *,
    code: Path = ROOT,
    before: Sequence[str] = (),
    **settings: object,
) -> Stack:
    """A stack that does not run yet; it ends with the scene."""
    flags = {key.replace("_", "-"): str(value) for key, value in settings.items()}
    made = Stack(scene, name, flags, code, before)
    scene.opened.callback(made.end)
    return made
