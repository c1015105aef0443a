"""What CI runs: the make targets of everybody, with few rights, in files that linters accept."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.deploy.linters import said_by
from tests.deploy.workflows import (
    CALL,
    GITHUB,
    ROOT,
    TARGETS,
    Workflow,
    actions,
    call_faults,
    faults,
    workflows,
)

WORKFLOWS = {one.name: one for one in workflows()}
ALL = {**WORKFLOWS, **{f"action {one.name}": one for one in actions()}}
LANES = {
    "fast.yaml": {"lint", "licences", "test"},
    "main.yaml": {"check", "release"},
    "nightly.yaml": {"sim", "mutants", "chaos", "soak", "contract", "bench"},
    "release.yaml": {"check", "release", "checksums", "gate", "wheel", "sbom"},
}
SCHEMAS = {
    "github-workflows": [f"workflows/{name}" for name in WORKFLOWS],
    "github-actions": ["actions/machine/action.yaml"],
    "github-issue-forms": ["ISSUE_TEMPLATE/fault.yaml", "ISSUE_TEMPLATE/wish.yaml"],
    "github-issue-config": ["ISSUE_TEMPLATE/config.yml"],
    "dependabot": ["dependabot.yaml"],
}


def yaml_of(name: str) -> Any:
    return YAML(typ="safe").load((ROOT / name).read_text(encoding="utf-8"))


@pytest.mark.req("REL-1")
@pytest.mark.parametrize("name", ALL)
def test_a_workflow_keeps_the_rules(name: str) -> None:
    assert faults(ALL[name]) == []


@pytest.mark.req("REL-1")
def test_each_lane_calls_the_targets_that_a_person_would() -> None:
    called = {
        name: {
            words.split()[0]
            for _, step in one.steps()
            for words in CALL.findall(step.get("run", ""))
        }
        for name, one in WORKFLOWS.items()
    }
    assert called == LANES


@pytest.mark.req("REL-1")
def test_where_tests_run_nothing_is_left_out_in_silence() -> None:
    jobs = [job for one in WORKFLOWS.values() for job in one.jobs.values()]
    testing = [job for job in jobs if re.search(r"make (test|check)\b", str(job["steps"]))]
    assert len(testing) == 3
    for job in testing:
        assert job["env"] == {"ORCH_TEST_LINTERS": "here"}
        assert "./.github/actions/machine" in [step.get("uses") for step in job["steps"]]


@pytest.mark.req("REL-1")
def test_one_action_has_one_pin_everywhere() -> None:
    used = {
        pin
        for one in ALL.values()
        for pin in re.findall(r"uses: (\w[^@\s]+)@(\S+ # \S+)", one.text)
    }
    assert len(used) == len({name for name, _ in used}) > 3


@pytest.mark.req("REL-1")
def test_a_pull_request_reads_and_keeps_nothing() -> None:
    fast = WORKFLOWS["fast.yaml"]
    assert set(fast.document["on"]) == {"pull_request"}
    assert {right for job in fast.jobs.values() for right in job["permissions"].items()} == {
        ("contents", "read")
    }
    assert {path for path, one in WORKFLOWS.items() if "pull_request" in one.document["on"]} == {
        "fast.yaml"
    }
    assert not re.search(r"cache|upload-artifact", fast.text)


@pytest.mark.req("REL-1")
def test_what_is_put_out_was_built_twice_and_is_checked_on_arrival() -> None:
    jobs = WORKFLOWS["release.yaml"].jobs
    assert set(jobs["publish"]["needs"]) == {"build", "rebuild"}
    assert jobs["rebuild"]["runs-on"] != jobs["build"]["runs-on"]
    steps = [str(step.get("uses") or step.get("run")) for step in jobs["publish"]["steps"]]
    order = (
        "download-artifact",
        "sha256sum --check --strict",
        "attest-build-provenance",
        "gh release",
    )
    assert [word in step for word, step in zip(order, steps, strict=True)] == [True] * len(steps)


# ---------------------------------------------------------------- each rule bites


SPOILS: dict[str, tuple[str | re.Pattern[str], str]] = {
    "rights of the workflow": ("permissions: {}\n", "permissions: read-all\n"),
    "no rights named": ("permissions: {}\n", ""),
    "a job without its list": ("    permissions:\n      contents: read # to check out\n", ""),
    "a job that writes": ("contents: read # to check out", "contents: write"),
    "a stranger's change with our rights": ("  pull_request:", "  pull_request_target:"),
    "no end": ("    timeout-minutes: 15\n", ""),
    "a late end": ("timeout-minutes: 15", "timeout-minutes: 3600"),
    "no group": ("concurrency:", "env:"),
    "the newest machine": ("ubuntu-24.04", "ubuntu-latest"),
    "no shell": ("    shell: bash", "    shell: sh"),
    "a secret": ("run: make lint", "run: make lint\n        env: {KEY: '${{ secrets.KEY }}'}"),
    "a tag for a commit": (re.compile(r"checkout@[0-9a-f]{40} # v[\d.]+"), "checkout@v5"),
    "a commit without its version": (re.compile(r"(checkout@[0-9a-f]{40}) # v[\d.]+"), r"\1"),
    "a token left behind": ("persist-credentials: false", "persist-credentials: true"),
    "a token left by default": ("with:\n          persist-credentials: false\n", "with: {}\n"),
    "an input that is none": ('python-version: "3.11"', 'python-verison: "3.11"'),
    "an expression in a program": ("make lint", 'make lint ARGS="${{ github.head_ref }}"'),
    "no such target": ("make lint", "make lnit"),
    "no such variable": ("make lint", "make lint FATS=1"),
}


@pytest.mark.parametrize("name", SPOILS)
def test_a_workflow_that_breaks_a_rule_is_noticed(name: str) -> None:
    was, becomes = SPOILS[name]
    text = WORKFLOWS["fast.yaml"].text
    spoiled = re.sub(was if isinstance(was, re.Pattern) else re.escape(was), becomes, text, count=1)
    assert spoiled != text
    assert faults(Workflow("fast.yaml", spoiled)), name


def test_a_job_that_writes_and_checks_out_is_noticed() -> None:
    text = WORKFLOWS["release.yaml"].text
    spoiled = text.replace("run: sha256sum --check --strict SHA256SUMS", "run: make gate")
    assert spoiled != text
    assert faults(Workflow("release.yaml", spoiled)) == [
        "release.yaml: publish: may write, and runs what this repository says"
    ]


@pytest.mark.parametrize(
    "words", ["", "-j4", "tea", "sim FAST=1 TEA=2", "check tea", "ARGS='lint'"]
)
def test_a_call_that_make_would_refuse_is_noticed(words: str) -> None:
    assert list(call_faults(words))


# ---------------------------------------------------------------- linters, where they are installed


@pytest.mark.req("REL-1")
@pytest.mark.parametrize("kind", SCHEMAS)
def test_files_fit_the_schema_of_their_kind(kind: str) -> None:
    paths = [str(GITHUB / name) for name in SCHEMAS[kind]]
    code, said = said_by("check-jsonschema", "--builtin-schema", f"vendor.{kind}", *paths)
    assert code == 0, said


@pytest.mark.req("REL-1")
def test_zizmor_has_nothing_to_say() -> None:
    config = f"--config={GITHUB / 'zizmor.yml'}"
    words = ("--offline", "--no-progress", "--persona=pedantic", config)
    code, said = said_by("zizmor", *words, str(GITHUB))
    assert code == 0, said


# ---------------------------------------------------------------- what people are asked for


def owned() -> Iterator[tuple[str, list[str]]]:
    for line in (GITHUB / "CODEOWNERS").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            path, *owners = line.split()
            yield path, owners


@pytest.mark.req("REL-2")
def test_everything_has_an_owner_and_owned_paths_exist() -> None:
    lines = list(owned())
    assert lines[0][0] == "*"
    assert not [path for path, _ in lines[1:] if not (ROOT / path.lstrip("/")).exists()]
    assert not [path for path, owners in lines if not owners]
    assert all(re.fullmatch(r"@[\w-]+/[\w-]+", name) for _, owners in lines for name in owners)
    assert {"/contracts/", "/.github/", "/ops/release/"} <= {path for path, _ in lines}


@pytest.mark.req("REL-2")
def test_the_templates_ask_for_what_was_seen() -> None:
    asked = yaml_of(".github/ISSUE_TEMPLATE/fault.yaml")["body"]
    needed = {one["id"] for one in asked if one.get("validations", {}).get("required")}
    assert needed == {"commands", "printed", "wanted"}
    change = (GITHUB / "pull_request_template.md").read_text(encoding="utf-8")
    assert "## What I saw" in change
    assert "$ make check" in change


@pytest.mark.req("REL-2")
def test_hooks_before_a_commit_and_a_push_are_make_targets_and_fetch_nothing() -> None:
    (repo,) = yaml_of(".pre-commit-config.yaml")["repos"]
    assert repo["repo"] == "local"
    stages = {}
    for hook in repo["hooks"]:
        program, *words = shlex.split(hook["entry"])
        assert program == "make"
        assert not list(call_faults(" ".join(words[:1])))
        assert hook["language"] == "system"
        stages[words[0]] = hook["stages"]
    assert stages == {"lint": ["pre-commit"], "test": ["pre-push"]}
    assert set(stages) <= TARGETS
