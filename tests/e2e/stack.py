"""A real stack for tests: `python -m actors up` in a home of its own, watched from outside.

Leaving the context stops the stack and proves three things about whatever the test did with it: the ledger of
every job replays to its state, every key has an owner or a time to live, and no process is left.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import redis
from redis.backoff import ConstantBackoff, NoBackoff
from redis.retry import Retry

from actors.start import ROLES
from contracts.errors import OrchError
from contracts.events import EventType
from contracts.record import JobRecord, LedgerEvent
from contracts.states import STATE_CODES, State
from orch.cli.stack import actors_argv, actors_environ
from orch.client import Endpoint, OrchSync
from orch.core.ledger import parse_ledger
from orch.store.keys import Keys
from orch.store.plain import client_to
from orch.system import monotonic_ms
from tests.e2e.invariants import key_faults, ledger_faults, result_of, settled_once, stored
from tests.e2e.specs import call

T = TypeVar("T")
S = TypeVar("S", bound="Stack")

DEADLINE_S: Final = 30.0
"""Generous: it bounds a failure, a passing test never waits for it."""
_POLL_S: Final = 0.02
_QUICK: Final[Mapping[str, object]] = {"grace_ms": 1_000, "log_level": "info"}


def pause(seconds: float = _POLL_S) -> None:
    """Between two looks at a fact."""
    threading.Event().wait(seconds)


def wait_until(
    fact: Callable[[], T | None], deadline_s: float = DEADLINE_S, *, what: str | None = None
) -> T:
    """The first value of `fact()` that is neither false nor None.

    Raises:
        AssertionError: it did not come within the deadline.
    """
    until_ms = monotonic_ms() + int(deadline_s * 1_000)
    while True:
        value = fact()
        if value:
            return value
        late = monotonic_ms() >= until_ms
        assert not late, f"not within {deadline_s} s: {what or fact}"
        pause()


@dataclass(frozen=True)
class Process:
    """A living process of a stack."""

    pid: int
    words: tuple[str, ...]

    @property
    def role(self) -> str:
        """The actor's role; `up` for the supervisor, `server`, or empty for a guard or an agent."""
        if "valkey-server" in self.words[0] or "redis-server" in self.words[0]:
            return "server"
        if "actors" in self.words:
            return self.words[self.words.index("actors") + 1]
        return ""


def processes_below(root: Path) -> list[Process]:
    """Every living process that works below `root`: actors, server, guards and agents do."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            if (entry / "cwd").readlink().is_relative_to(root):  # a zombie has none
                raw = (entry / "cmdline").read_bytes()
                words = tuple(os.fsdecode(word) for word in raw.split(b"\0")[:-1])
                if words:
                    found.append(Process(int(entry.name), words))
    return found


def is_alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in {"Z", "X"}


def parent_of(pid: int) -> int:
    """Whose child it is; 0 when it is gone."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def environ() -> dict[str, str]:
    """The environment of a child without any ORCH_ name of ours."""
    return {k: v for k, v in actors_environ({}).items() if not k.startswith("ORCH_")}


@dataclass(frozen=True)
class Ended:
    """How one call of `orch` ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Its stdout as JSON."""
        return json.loads(self.out)


class Stack:
    """One home and the processes that serve it."""

    def __init__(self, root: Path, settings: Mapping[str, object]) -> None:
        self.root = root
        self.home = root / "home"
        self.log = root / "up.log"
        self._settings = {**_QUICK, **settings}
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._open = ExitStack()
        self.found: list[str] = []
        """Faults, looked for whenever it was asked to leave."""

    # -- its life

    def start(self) -> None:
        """Starts it and waits until every part is registered and the gateway is ready."""
        self._supervisor = self.spawn_up()
        wait_until(self._endpoint_is_ours, what=f"endpoint.json; {self.log}")
        self._open.close()
        self.client = self._open.enter_context(OrchSync(Endpoint(self.url)))
        self.redis = self._open.enter_context(connect(self.redis_url))
        wait_until(self._is_serving, what=f"all parts serve; {self.log}")

    def spawn_up(self) -> subprocess.Popen[bytes]:
        """`python -m actors up` on this home, as a child of ours."""
        words = [word for k, v in self._settings.items() for word in ("--set", f"{k}={v}")]
        return self._spawn("up", "--home", str(self.home), *words)

    def spawn_actor(self, role: str, *words: str) -> subprocess.Popen[bytes]:
        """`python -m actors ROLE --redis-url URL`, as somebody starts it by hand."""
        home = self.root / "by-hand"
        return self._spawn(role, "--redis-url", self.redis_url, "--home", str(home), *words)

    def _spawn(self, *words: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                actors_argv(*words),
                cwd=self.root,
                env=environ(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _endpoint_is_ours(self) -> bool:
        assert self._supervisor is not None
        assert self._supervisor.poll() is None, self.log.read_text()[-4_000:]
        with suppress(OSError, ValueError):
            return bool(self.endpoint()["pid"] == self._supervisor.pid)
        return False

    def _is_serving(self) -> bool:
        return {about["role"] for about in self.instances().values()} >= set(
            ROLES
        ) and self.answers()

    def answers(self) -> bool:
        """Whether the gateway says that it is ready."""
        try:
            self.client.ready()
        except OrchError:
            return False
        return True

    def end(self) -> None:
        """Looks for faults, then SIGTERM to the supervisor; returns when everything of it is gone."""
        if self._supervisor is not None:
            self.found += self.faults()
            self._supervisor.terminate()
            self._supervisor.wait(DEADLINE_S)
            self._supervisor = None
        self._open.close()
        wait_until(lambda: not self.processes(), what=f"no process is left: {self.processes()}")

    def destroy(self) -> None:
        """SIGKILL to whatever is left, for a test that has failed."""
        for left in self.processes():
            with suppress(ProcessLookupError):
                os.kill(left.pid, signal.SIGKILL)
        if self._supervisor is not None:
            self._supervisor.wait(DEADLINE_S)
        self._open.close()

    def kill_supervisor(self) -> None:
        """SIGKILL: it can do nothing any more."""
        assert self._supervisor is not None
        self._supervisor.kill()
        self._supervisor.wait()
        self._supervisor = None

    # -- where it is

    def endpoint(self) -> dict[str, Any]:
        """What endpoint.json says."""
        document: dict[str, Any] = json.loads((self.home / "endpoint.json").read_bytes())
        return document

    @property
    def url(self) -> str:
        """The gateway's address."""
        return str(self.endpoint()["url"])

    @property
    def redis_url(self) -> str:
        """The private server's address."""
        return str(self.endpoint()["redis_url"])

    # -- what runs

    def processes(self) -> list[Process]:
        """All of its processes, agents included."""
        return processes_below(self.root)

    def pids(self, role: str) -> list[int]:
        """The processes of one role; `server` is the private Valkey."""
        found = {one.pid for one in self.processes() if one.role == role}
        # What was forked a moment ago looks like its parent, and has the lower pid where pids begin anew.
        return sorted(pid for pid in found if parent_of(pid) not in found)

    def pid(self, role: str) -> int:
        """The only process of one role."""
        (pid,) = self.pids(role)
        return pid

    def kill(self, role: str, number: int = signal.SIGKILL) -> int:
        """Signals one process of a role; its pid."""
        pid = self.pids(role)[0]
        os.kill(pid, number)
        return pid

    def kill_pid(self, pid: int, number: int = signal.SIGKILL) -> None:
        """Signals one of its processes."""
        os.kill(pid, number)

    # -- what is stored

    def instances(self) -> dict[str, dict[str, Any]]:
        """What every registered instance said about itself."""
        found = self.redis.hgetall(Keys().instances)
        return {name: json.loads(about) for name, about in found.items()}

    def serving_pids(self, role: str) -> set[int]:
        """The processes of this role that are registered and not buried."""
        beats = self.redis.hkeys(Keys().beats)
        return {
            one["pid"]
            for name, one in self.instances().items()
            if one["role"] == role and name in beats
        }

    def stored(self, job_id: str) -> dict[str, str]:
        """The raw hash of a job."""
        return stored(self.redis, job_id)

    def held(self) -> dict[str, str]:
        """Job -> claim, of everything that runners hold."""
        runners = [name for name, one in self.instances().items() if one["role"] == "runner"]
        return {k: v for name in runners for k, v in self.redis.hgetall(Keys().held(name)).items()}

    # -- the command line

    def orch(self, *words: str, stdin: str | None = None, cwd: Path | None = None) -> Ended:
        """`orch WORDS… --home H`."""
        ended = subprocess.run(
            [sys.executable, "-m", "orch.cli.main", *words, "--home", str(self.home)],
            cwd=cwd or self.root,
            env=environ(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    # -- what tests do often

    def run(self, spec: Mapping[str, Any]) -> JobRecord:
        """Submits a job and waits until it is over or blocked."""
        return self.client.wait(self.client.submit(spec).job_id, timeout_s=DEADLINE_S)

    def events_of(self, job_id: str, *types: EventType) -> list[LedgerEvent]:
        """The ledger of a job, or its entries of some types."""
        events = self.client.ledger(job_id, limit=500).events
        return [event for event in events if event.type in types or not types]

    def wait_for_event(self, job_id: str, type_: EventType, **payload: object) -> LedgerEvent:
        """The first entry of this type whose payload holds these values."""

        def found() -> LedgerEvent | None:
            return next(
                (
                    event
                    for event in parse_ledger(self.stored(job_id))
                    if event.type is type_ and payload.items() <= event.payload.items()
                ),
                None,
            )

        return wait_until(found, what=f"{type_} {payload} of job {job_id}")

    def wait_for_state(self, job_id: str, state: State) -> None:
        """Until the job is stored in this state."""
        wait_until(
            lambda: self.stored(job_id)["state"] == STATE_CODES[state],
            what=f"{state} of job {job_id}",
        )

    def wait_for_output(self, job_id: str) -> str:
        """The first piece of output that a running job wrote."""
        return wait_until(lambda: self.client.logs(job_id).lines, what="it speaks")[0].text

    def submit_echoes(self, count: int, *, each_ms: int = 20) -> dict[str, int]:
        """Small python jobs, each with a result of its own: job id -> result."""
        answer = self.client.submit_batch([call("slow_echo", n, each_ms) for n in range(count)])
        return {item.job.job_id: n for n, item in enumerate(answer.items) if item.job is not None}

    def completed(self, job_ids: Iterable[str]) -> int:
        """How many of these are completed, each by exactly one result."""
        return sum(settled_once(self.stored(job_id)) for job_id in job_ids)

    def wait_for_echoes(self, echoes: Mapping[str, int], deadline_s: float = DEADLINE_S) -> None:
        """Until all are completed, once, each with its own result."""
        wait_until(
            lambda: self.completed(echoes) == len(echoes),
            deadline_s,
            what=f"{len(echoes)} jobs completed once",
        )
        assert all(result_of(self.stored(job_id)) == n for job_id, n in echoes.items())

    def faults(self) -> list[str]:
        """What its server holds and should not: ledgers that do not replay, keys that nobody owns."""
        return [*ledger_faults(self.redis), *key_faults(self.redis)]


def connect(url: str) -> redis.Redis:
    """A client of our own, past Orch: it sees what is really stored. It waits for a failover to end."""
    is_led = "+" in url.partition(":")[0]
    retry = Retry(ConstantBackoff(0.1), 100) if is_led else Retry(NoBackoff(), 0)
    return client_to(
        url, Keys().prefix, decode_responses=True, retry=retry, socket_timeout=DEADLINE_S
    )


def a_stack(root: Path, **settings: object) -> AbstractContextManager[Stack]:
    """A running stack; see the module."""
    return watched(Stack(root, settings))


@contextmanager
def watched(stack: S) -> Iterator[S]:
    """Starts it; at the end it is stopped and looked at, or destroyed where the test has failed."""
    try:
        stack.start()
        yield stack
        stack.end()
    except BaseException:
        sys.stderr.write(stack.log.read_text()[-6_000:])
        stack.destroy()
        raise
    assert stack.found == []
