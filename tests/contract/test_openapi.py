"""Does the running system do what contracts/openapi.json says, whatever a client sends? (API-2, API-3)

schemathesis reads the committed document, draws requests from it, sound and broken ones, follows the links
of a submission, and holds every answer against it. The same document gives the same requests. EXAMPLES is
how many of each kind: `make contract EXAMPLES=300` for a night.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from contracts.commands import CommandName
from contracts.limits import PAGE_ITEMS_MAX
from orch.core.views import OUTPUT_NAME
from tests.e2e.invariants import job_ids
from tests.e2e.specs import command, step, steps
from tests.e2e.stack import DEADLINE_S, Stack, environ, wait_until

ROOT: Final = Path(__file__).resolve().parents[2]
DOCUMENT: Final = ROOT / "contracts/openapi.json"
HERE: Final = Path(__file__).parent
EXAMPLES: Final = int(os.environ.get("ORCH_CONTRACT_EXAMPLES") or 5)
TIMEOUT_S: Final = 60 + EXAMPLES * 10
CHECKS: Final = {
    "not_a_server_error", "status_code_conformance", "content_type_conformance",
    "response_headers_conformance", "response_schema_conformance", "negative_data_rejection",
    "positive_data_acceptance", "missing_required_header", "unsupported_method",
    "allow_header_conformance",
}  # fmt: skip


def operations() -> dict[str, tuple[str, str]]:
    document = json.loads(DOCUMENT.read_bytes())
    return {
        one["operationId"]: (method.upper(), path)
        for path, methods in document["paths"].items()
        for method, one in methods.items()
    }


@pytest.fixture(scope="module")
def seed(stack: Stack) -> Mapping[str, str]:
    """A finished job with a file, for what nobody can draw."""
    done = stack.run(steps(step("a", "echo hi > f.txt", artifacts=["f.txt"])))
    (artifact,) = [
        one for one in stack.client.artifacts(done.job_id).artifacts if one.name != OUTPUT_NAME
    ]
    return {"SEED_JOB": done.job_id, "SEED_SHA256": artifact.sha256}


def schemathesis(
    stack: Stack, seed: Mapping[str, str], root: Path, *words: str
) -> tuple[str, list[dict[str, Any]]]:
    """What it says in the end, and every event of its run."""
    events = root / "events.ndjson"
    ended = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "schemathesis.cli",
                "--config-file",
                str(HERE / "schemathesis.toml"),
            ),
            *("run", str(DOCUMENT), "--url", stack.url, "--max-examples", str(EXAMPLES)),
            *("--report", "ndjson", "--report-ndjson-path", str(events), "--no-color", *words),
        ],
        cwd=root,
        env={
            **environ(),
            "SCHEMATHESIS_HOOKS": "tests.contract.hooks",
            "PYTHONPATH": str(ROOT),
            **seed,
        },
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-20_000:] + ended.stderr[-2_000:]
    return ended.stdout, [json.loads(line) for line in events.read_text().splitlines()]


@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.req("API-2", "API-3", "API-6", "SEC-3", "SIM-5")
def test_no_request_drawn_from_the_document_gets_an_answer_that_it_does_not_declare(
    stack: Stack, seed: Mapping[str, str], tmp_path: Path
) -> None:
    said, events = schemathesis(stack, seed, tmp_path, "--phases", "coverage,fuzzing")

    tested = re.search(r"Tested: (\d+)", said)
    assert tested is not None
    assert int(tested[1]) == len(operations()), "every operation is asked"
    generated = re.search(r"(\d+) generated", said)
    assert generated is not None
    assert int(generated[1]) > 30 * len(operations())
    assert set(_words(events)) >= CHECKS, "and every check looks"
    wait_until(lambda: _given(stack) >= set(CommandName), what="a record of every command")
    assert stack.answers()


def _given(stack: Stack) -> set[str]:
    """Which commands were given; `hooks.py` sends them to those who are not there."""
    return {one.command for one in stack.client.commands(limit=PAGE_ITEMS_MAX).commands}


def _words(events: list[dict[str, Any]]) -> list[str]:
    """The names of all checks that a run made."""
    return re.findall(r'"name": ?"([a-z_]+)"', json.dumps(events))


@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.req("API-2", "API-6")
def test_what_a_submission_leads_to_is_declared_too(
    stack: Stack, seed: Mapping[str, str], tmp_path: Path
) -> None:
    before = len(job_ids(stack.redis))

    said, _ = schemathesis(
        stack, seed, tmp_path, "--phases", "stateful", "--include-path-regex", "^/v1/jobs($|/)",
        "--max-examples", str(6 * EXAMPLES),
    )  # fmt: skip

    links = re.search(r"API Links: +(\d+) covered", said)
    assert links is not None
    assert int(links[1]) >= 4, "from a submission on to other calls about its job"
    assert len(job_ids(stack.redis)) > before


@pytest.mark.req("API-3")
@pytest.mark.parametrize("path", sorted({path for _, path in operations().values()}))
def test_every_method_that_a_path_does_not_have_is_refused_with_the_error_body(
    stack: Stack, path: str
) -> None:
    import httpx2

    known = {method for method, its_path in operations().values() if its_path == path}
    where = re.sub(r"\{\w+\}", "nobody", path.replace("{sha256}", "0" * 64))
    with httpx2.Client(base_url=stack.url, timeout=DEADLINE_S) as http:
        for method in sorted({"PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "POST", "GET"} - known):
            answer = http.request(method, where, headers={"Content-Type": "application/json"})
            body = answer.json()
            assert (answer.status_code, body["code"]) == (405, "METHOD_NOT_ALLOWED"), method
            assert body["request_id"] == answer.headers["x-correlation-id"]
            assert set(answer.headers["allow"].split(", ")) - {"HEAD"} == known


@pytest.mark.req("ADM-6", "API-2")
def test_nothing_that_was_refused_left_a_job_behind(stack: Stack) -> None:
    """The stack's own end looks at every ledger and key that these thousands of requests left."""
    answer = stack.client.submit(command("true"))
    assert stack.client.wait(answer.job_id, timeout_s=DEADLINE_S).outcome == "done"
    assert stack.faults() == []
