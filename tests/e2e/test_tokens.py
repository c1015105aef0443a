"""Tokens from the first to the last: made by the owner of the home, shown by callers, told to nobody."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from contracts.limits import TOKEN_CACHE_MS
from contracts.states import State
from orch.client import Endpoint, OrchSync
from tests.e2e.conftest import StartStack
from tests.e2e.specs import command
from tests.e2e.stack import Ended, Stack, environ, wait_until

CANARY: Final = "c4n4ry-5ecret-d0-n0t-tell"
LOOK: Final = """
import json, os, urllib.request, urllib.error
from pathlib import Path
def asked(method, path, body=None):
    request = urllib.request.Request(os.environ["ORCH_URL"] + path, body, method=method)
    request.add_header("Authorization", "Bearer " + os.environ["ORCH_TOKEN"])
    request.add_header("Content-Type", "application/json")
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        return error.code
me = os.environ["ORCH_JOB_ID"]
found = [asked("GET", "/v1/jobs/" + me), asked("GET", "/v1/jobs/other"), asked("POST", "/v1/jobs", b"{}")]
Path(os.environ["SEEN"]).write_text(json.dumps({"found": found, "token": os.environ["ORCH_TOKEN"],
    "names": sorted(os.environ)}))
"""


def orch(stack: Stack, *words: str, token: str | None = None) -> Ended:
    """As `stack.orch`, with ORCH_TOKEN."""
    ended = subprocess.run(
        [sys.executable, "-m", "orch.cli.main", *words, "--home", str(stack.home)],
        cwd=stack.root,
        env={**environ(), **({} if token is None else {"ORCH_TOKEN": token})},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def made(stack: Stack, *words: str) -> dict[str, Any]:
    ended = orch(stack, "token", "create", "--name", "ci", *words, "--json")
    assert ended.code == 0, ended.out
    document: dict[str, Any] = ended.document
    return document


def asked(stack: Stack, path: str, headers: dict[str, str], body: bytes | None = None) -> str:
    """Everything that the gateway says, head and body."""
    request = urllib.request.Request(stack.url + path, body, headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return f"{answer.status} {answer.headers} {answer.read().decode()}"
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.headers} {error.read().decode()}"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    from tests.e2e.stack import a_stack

    before = os.environ.get("CANARY_OF_THE_HOUSE")
    os.environ["CANARY_OF_THE_HOUSE"] = CANARY
    try:
        with a_stack(tmp_path_factory.mktemp("stack"), auth="tokens") as running:
            yield running
    finally:
        if before is None:
            del os.environ["CANARY_OF_THE_HOUSE"]


@pytest.mark.req("API-4", "CTL-6")
def test_a_token_is_made_shown_once_listed_and_taken_back(stack: Stack) -> None:
    token = made(stack, "--tenant", "acme", "--scope", "submit", "--scope", "read")
    assert token["token"].startswith(f"orch_{token['token_id']}_")

    listed = orch(stack, "token", "list", "--json")
    (row,) = [one for one in listed.document["tokens"] if one["token_id"] == token["token_id"]]
    assert row == {key: value for key, value in token.items() if key != "token"}
    stored = json.dumps(stack.redis.hgetall("{orch:0}:tokens"))
    assert token["token_id"] in stored
    assert token["token"] not in stored + listed.out

    assert orch(stack, "list", token=token["token"]).code == 0
    assert orch(stack, "token", "revoke", token["token_id"]).code == 0
    again = orch(stack, "token", "revoke", token["token_id"], "--json")
    assert (again.code, again.document["code"]) == (6, "NOT_FOUND")
    within_s = 2 * TOKEN_CACHE_MS / 1_000
    wait_until(lambda: orch(stack, "list", token=token["token"]).code == 8, within_s)


@pytest.mark.req("API-4", "CTL-6")
def test_a_token_in_a_file_is_for_its_owner_only_and_nowhere_else(
    stack: Stack, tmp_path: Path
) -> None:
    out = tmp_path / "token"
    words = ("token", "create", "--name", "ci", "--scope", "read", "--expires", "30d")
    ended = orch(stack, *words, "--out", str(out), "--json")
    assert (ended.code, ended.document["token"]) == (0, None)
    assert ended.document["expires_at_ms"] - ended.document["created_at_ms"] == 30 * 86_400_000
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    text = out.read_text().strip()
    assert text not in ended.out + ended.err
    assert orch(stack, "list", token=text).code == 0

    taken = orch(stack, *words, "--out", str(out), "--json")
    assert (taken.code, taken.document["code"]) == (6, "INVALID_REQUEST")
    assert out.read_text().strip() == text


@pytest.mark.req("API-4", "CLI-2")
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--name", "a b", "--scope", "read"), "INVALID_REQUEST"),
        (("--name", "ci", "--scope", "everything"), "INVALID_REQUEST"),
        (("--name", "ci", "--scope", "read", "--tenant", "../x"), "INVALID_REQUEST"),
        (("--name", "ci", "--scope", "read", "--expires", "soon"), "INVALID_REQUEST"),
        (("--name", "ci"), "INVALID_REQUEST"),
    ],
)
def test_a_bad_token_is_one_typed_error_and_nothing_is_stored(
    stack: Stack, words: tuple[str, ...], code: str, tmp_path: Path
) -> None:
    before = stack.redis.hgetall("{orch:0}:tokens")
    out = tmp_path / "token"
    ended = orch(stack, "token", "create", *words, "--out", str(out), "--json")
    assert (ended.code, ended.document["code"]) == (6, code)
    assert stack.redis.hgetall("{orch:0}:tokens") == before
    assert not out.exists()


@pytest.mark.req("API-4", "CLI-2")
def test_who_may_not_gets_exit_code_8(stack: Stack, tmp_path: Path) -> None:
    reader = made(stack, "--scope", "read")["token"]
    spec = tmp_path / "job.json"
    spec.write_text(json.dumps(command("true")))

    for token, code in (
        (None, "UNAUTHENTICATED"),
        ("wrong", "UNAUTHENTICATED"),
        (reader, "FORBIDDEN"),
    ):
        ended = orch(stack, "submit", str(spec), "--json", token=token)
        assert (ended.code, ended.document["code"]) == (8, code)
    human = orch(stack, "submit", str(spec), token=reader)
    assert human.err.startswith("FORBIDDEN: the token lacks the scope submit")


@pytest.mark.req("CLI-2")
def test_doctor_needs_no_token_but_notices_a_wrong_one(stack: Stack) -> None:
    good = made(stack, "--scope", "read")["token"]
    for token in (None, good):
        well = orch(stack, "doctor", "--json", token=token)
        assert well.code == 0, well.out
    ended = orch(stack, "doctor", "--json", token="wrong")
    assert ended.code == 7
    (check,) = [one for one in ended.document["checks"] if not one["ok"]]
    assert (check["name"], "orch token create" in check["fix"]) == ("token", True)


@pytest.mark.req("LSE-5")
def test_an_agent_reads_its_own_job_with_its_own_token_while_its_claim_is_in_force(
    stack: Stack, tmp_path: Path
) -> None:
    token = made(stack, "--scope", "submit", "--scope", "read")["token"]
    seen = tmp_path / "seen"
    spec = command(sys.executable, "-c", LOOK, config={"env": {"SEEN": str(seen)}})
    with OrchSync(Endpoint(stack.url, token)) as client:
        record = client.wait(client.submit(spec).job_id, timeout_s=30)
    assert record.state is State.COMPLETED
    told = json.loads(seen.read_text())
    assert told["found"] == [200, 404, 403]
    assert "CANARY_OF_THE_HOUSE" not in told["names"]

    after = asked(stack, f"/v1/jobs/{record.job_id}", {"Authorization": f"Bearer {told['token']}"})
    assert after.startswith("409 ")
    assert "LEASE_OVER" in after


@pytest.mark.req("SEC-2")
def test_what_is_planted_in_headers_tokens_bodies_and_environments_is_told_to_nobody(
    stack: Stack,
) -> None:
    token = made(
        stack, *[word for s in ("submit", "read", "steer", "control") for word in ("--scope", s)]
    )
    text = token["token"]
    good = {"Authorization": f"Bearer {text}", "Content-Type": "application/json"}
    planted = {"Cookie": f"session={CANARY}", "X-Api-Key": CANARY, "Idempotency-Key": CANARY}
    said = [
        asked(stack, "/v1/jobs", {"Authorization": f"Bearer {CANARY}"}),
        asked(stack, "/v1/jobs", {"Authorization": f"Basic {CANARY}"}),
        asked(stack, f"/v1/jobs?token={CANARY}", {}),
        asked(stack, f"/v1/jobs?cursor={CANARY}", good),
        asked(stack, f"/v1/jobs?state={CANARY}", good),
        asked(stack, "/v1/jobs", {**good, **planted, "Origin": f"http://{CANARY}"}, b"{}"),
        asked(stack, "/v1/jobs", {**good, "Content-Type": CANARY}, b"{}"),
        asked(stack, "/v1/jobs", {**good, "Host": CANARY}),
        asked(stack, "/v1/jobs", {**good, **planted}, b'{"name": "' + CANARY.encode()),
        asked(stack, "/v1/jobs", good, json.dumps({"name": "x", "inputs": {"k": CANARY}}).encode()),
        asked(stack, "/v1/jobs", good, json.dumps({"name": {"secret": CANARY}}).encode()),
    ]
    spec = command("sh", "-c", "exit 3", CANARY, config={"env": {"SECRET": CANARY}})
    answer = asked(stack, "/v1/jobs", {**good, "Cookie": CANARY}, json.dumps(spec).encode())
    assert answer.startswith("202 "), answer
    with OrchSync(Endpoint(stack.url, text)) as client:
        job_id = client.jobs(limit=1).jobs[0].job_id
        record = client.wait(job_id, timeout_s=30)
        events = client.ledger(job_id, limit=100)
    assert record.state is State.FAILED
    said += [answer, record.model_dump_json(), events.model_dump_json(), stack.log.read_text()]
    for url in stack.endpoint()["metrics"].values():
        with urllib.request.urlopen(url) as numbers:
            said.append(numbers.read().decode())
    said.append(asked(stack, "/metrics", good))
    said.append((stack.home / "endpoint.json").read_text())
    assert "refused_at_the_door" in stack.log.read_text(), "the log does tell that it refused"
    for one in said:
        assert CANARY not in one, one[:500]
        assert text not in one, one[:500]


@pytest.mark.req("SEC-2", "CFG-2")
def test_an_unknown_setting_is_named_and_its_value_is_not(stack: Stack) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "orch.cli.main", "config", "show"],
        env={**environ(), "ORCH_API_KEY": CANARY},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 6
    assert "ORCH_API_KEY" in ended.stderr
    assert CANARY not in ended.stderr + ended.stdout


def test_a_stack_without_tokens_asks_for_none(start_stack: StartStack) -> None:
    stack = start_stack("open")
    assert orch(stack, "list", token="whatever").code == 0
