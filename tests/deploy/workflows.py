"""The rules for what CI runs: functions from a file to faults, so that a planted one shows that they bite.

They need no linter; check-jsonschema and zizmor are asked besides, where they are installed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github"
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = frozenset(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))
TRIGGERS = {"pull_request", "push", "schedule", "workflow_dispatch"}
"""Not pull_request_target and its like: they give a stranger's change the rights of the repository."""
WRITERS = {("release.yaml", "publish")}
"""The jobs that may write anything."""
MINUTES_MAX = 360
INPUTS = {
    "actions/checkout": {"persist-credentials"},
    "actions/setup-python": {"python-version"},
    "actions/upload-artifact": {"name", "path", "if-no-files-found", "retention-days"},
    "actions/download-artifact": {"name", "path"},
    "actions/attest-build-provenance": {"subject-checksums"},
}
"""What is asked of each action, read in its action.yml at the pinned commit: GitHub only warns of a typo."""
PINNED = re.compile(r"uses: (?:\./[\w./-]+|[\w-]+(?:/[\w.-]+)+@[0-9a-f]{40} # v\d+(?:\.\d+)*)$")
CALL = re.compile(r"(?:^|[;&|(]\s*)make\s+([^\n;&|]*)", re.MULTILINE)


@dataclass(frozen=True)
class Workflow:
    """A file of CI, by its name: a workflow, or an action of our own."""

    name: str
    text: str

    @cached_property
    def document(self) -> dict[str, Any]:
        read: dict[str, Any] = YAML(typ="safe").load(self.text)
        return read

    @property
    def jobs(self) -> dict[str, dict[str, Any]]:
        jobs: dict[str, dict[str, Any]] = self.document.get("jobs", {})
        return jobs

    def steps(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each step, with its job's name; an action's too."""
        for name, job in self.jobs.items():
            yield from ((name, step) for step in job["steps"])
        yield from (("action", step) for step in self.document.get("runs", {}).get("steps", ()))


def workflows() -> list[Workflow]:
    paths = sorted((GITHUB / "workflows").glob("*"))
    return [Workflow(path.name, path.read_text(encoding="utf-8")) for path in paths]


def actions() -> list[Workflow]:
    paths = sorted((GITHUB / "actions").glob("*/action.yaml"))
    return [Workflow(path.parent.name, path.read_text(encoding="utf-8")) for path in paths]


# ---------------------------------------------------------------- rules for a workflow


def rights(one: Workflow) -> Iterator[str]:
    if one.document.get("permissions") != {}:
        yield "the workflow itself may do something: permissions: {}"
    for name, job in one.jobs.items():
        given = job.get("permissions")
        if not isinstance(given, dict):
            yield f"{name}: no list of permissions"
        elif "write" in given.values() and (one.name, name) not in WRITERS:
            yield f"{name}: may write"


def writers_run_nothing_of_ours(one: Workflow) -> Iterator[str]:
    for name, step in one.steps():
        used = str(step.get("uses", ""))
        is_ours = used.startswith(("./", "actions/checkout@")) or CALL.search(step.get("run", ""))
        if "write" in (one.jobs.get(name, {}).get("permissions") or {}).values() and is_ours:
            yield f"{name}: may write, and runs what this repository says"


def triggers(one: Workflow) -> Iterator[str]:
    on = one.document["on"]
    for name in [on] if isinstance(on, str) else on:
        if name not in TRIGGERS:
            yield f"is started by {name}"


def bounds(one: Workflow) -> Iterator[str]:
    group = one.document.get("concurrency")
    if not (isinstance(group, dict) and group.get("group") and "cancel-in-progress" in group):
        yield "no concurrency group, or not said what a newer run does"
    for name, job in one.jobs.items():
        minutes = job.get("timeout-minutes")
        if not (isinstance(minutes, int) and 0 < minutes <= MINUTES_MAX):
            yield f"{name}: no timeout-minutes up to {MINUTES_MAX}"
        if str(job.get("runs-on", "latest")).endswith("latest"):
            yield f"{name}: runs on whatever is newest"


def shells(one: Workflow) -> Iterator[str]:
    if one.document.get("defaults") != {"run": {"shell": "bash"}}:
        yield "no shell: bash, so a pipe hides a failure"


# ---------------------------------------------------------------- rules for an action too


def secrets(one: Workflow) -> Iterator[str]:
    if re.search(r"\bsecrets\s*[.:\[]", one.text):
        yield "takes a secret: the workflow's own token has to do"


def pins(one: Workflow) -> Iterator[str]:
    lines = [line.strip().removeprefix("- ") for line in one.text.splitlines()]
    used = [line for line in lines if line.startswith("uses:")]
    yield from (f"{line}: no commit and its version" for line in used if not PINNED.match(line))
    if len(used) != sum("uses" in step for _, step in one.steps()):
        yield "uses something where these rules do not see it"


def inputs(one: Workflow) -> Iterator[str]:
    for name, step in one.steps():
        action = str(step.get("uses", "./")).partition("@")[0]
        if not action.startswith("./"):
            unread = set(step.get("with", {})) - INPUTS.get(action, set())
            yield from (f"{name}: {action} with {word}: read its inputs" for word in sorted(unread))


def credentials(one: Workflow) -> Iterator[str]:
    for name, step in one.steps():
        is_checkout = str(step.get("uses", "")).startswith("actions/checkout@")
        if is_checkout and step.get("with", {}).get("persist-credentials") is not False:
            yield f"{name}: leaves the token in the checkout"


def expressions(one: Workflow) -> Iterator[str]:
    for name, step in one.steps():
        if "${{" in step.get("run", ""):
            yield f"{name}: an expression inside of a program: pass it by env"


def calls(one: Workflow) -> Iterator[str]:
    """Every `make …` names targets and variables that the Makefile has."""
    for name, step in one.steps():
        for words in CALL.findall(step.get("run", "")):
            yield from (f"{name}: {fault}" for fault in call_faults(words))


def call_faults(words: str) -> Iterator[str]:
    variables = re.findall(r"(?<!\S)([A-Z]+)=", words)
    yield from (f"make knows no {one}=" for one in variables if f"$({one})" not in MAKEFILE)
    targets = re.findall(r"(?<!\S)([a-z][a-z-]*)(?!\S)", re.sub(r"['\"][^'\"]*['\"]", "", words))
    if not targets:
        yield "make without a target"
    yield from (f"there is no make {one}" for one in targets if one not in TARGETS)


Rule = Callable[[Workflow], Iterator[str]]
OF_ALL: tuple[Rule, ...] = (secrets, pins, inputs, credentials, expressions, calls)
OF_WORKFLOWS: tuple[Rule, ...] = (
    rights, writers_run_nothing_of_ours, triggers, bounds, shells, *OF_ALL,
)  # fmt: skip


def faults(one: Workflow) -> list[str]:
    """What is wrong with a workflow, or with an action."""
    rules = OF_WORKFLOWS if "on" in one.document else OF_ALL
    return [f"{one.name}: {fault}" for rule in rules for fault in rule(one)]
