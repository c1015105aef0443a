"""What `orch submit` says of a refusal for load, and of a job that waits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Orch
from tests.cli.fake_gateway import FakeGateway, ok, refusal

SPEC = {"name": "x", "adapter": {"name": "command", "config": {"argv": ["true"]}}}


def spec_file(tmp_path: Path) -> str:
    path = tmp_path / "job.json"
    path.write_text(json.dumps(SPEC))
    return str(path)


@pytest.mark.req("ADM-3", "CLI-2")
@pytest.mark.parametrize(
    ("code", "status"), [("QUEUE_FULL", 429), ("RATE_LIMITED", 429), ("INTAKE_PAUSED", 503)]
)
def test_a_refusal_for_load_says_when_to_come_again_and_which_rule_it_was(
    at_gateway: Orch, gateway: FakeGateway, tmp_path: Path, code: str, status: int
) -> None:
    load = {"retry_after_ms": 740, "policy_label": "shed-low-priority"}
    reply = refusal(code, status, **load)
    gateway.on("POST", "/v1/jobs", reply)
    human = at_gateway("submit", spec_file(tmp_path))
    machine = at_gateway("submit", spec_file(tmp_path), "--json")
    assert (human.code, human.out, human.err.splitlines()[-1]) == (
        1,
        "",
        "retry after 740 ms (shed-low-priority)",
    )
    assert (machine.code, json.loads(machine.out)) == (1, json.loads(reply.body))


@pytest.mark.req("ADM-3")
def test_a_job_that_waits_is_told_its_place_and_its_start(
    at_gateway: Orch, gateway: FakeGateway, tmp_path: Path
) -> None:
    submitted = {
        "job_id": "j1", "state": "queued", "queue_position": 7, "predicted_start_ms": 12_340,
        "duplicate": False,
    }  # fmt: skip
    gateway.on("POST", "/v1/jobs", ok(submitted, 202))
    ended = at_gateway("submit", spec_file(tmp_path))
    assert (ended.code, ended.out) == (0, "j1\n")
    assert ended.err.startswith("queued, 7 ahead of it, starts in about 12.34 s; follow it with: ")
