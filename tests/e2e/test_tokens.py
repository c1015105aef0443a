"""Tokens from the first to the last: made by the owner of the home, shown by callers, told to nobody."""

from __future__ import annotations

import json
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
from orch.client import Endpoint, OrchSync, calls_webhooks
from orch.store.keys import Keys
from tests.actors.receiver import receiving
from tests.adapters.endpoint import an_endpoint, plain
from tests.e2e.collector import Collector, a_collector
from tests.e2e.conftest import StartStack
from tests.e2e.specs import command, http
from tests.e2e.stack import Ended, Stack, a_stack, connect, environ, wait_until
from tests.store.engines import real_servers

CANARY: Final = "c4n4ry-5ecret-d0-n0t-tell"
PASSWORD: Final = f"redis-{CANARY}"
HOUSE: Final = {
    "CANARY_OF_THE_HOUSE": CANARY,
    "MODEL_KEY": f"model-{CANARY}",
    "OTEL_EXPORTER_OTLP_HEADERS": f"x-collector-key=key-{CANARY}",
    "OTEL_BSP_SCHEDULE_DELAY": "50",
}
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


def everything_of(client: OrchSync, job_id: str) -> list[str]:
    """Its record, its ledger and its frames."""
    frames = [repr(frame) for frame in client.events(job_id)]
    ledger = client.ledger(job_id, limit=100).model_dump_json()
    return [client.job(job_id).model_dump_json(), ledger, *frames]


def asked(stack: Stack, path: str, headers: dict[str, str], body: bytes | None = None) -> str:
    """Everything that the gateway says, head and body."""
    request = urllib.request.Request(stack.url + path, body, headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return f"{answer.status} {answer.headers} {answer.read().decode()}"
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.headers} {error.read().decode()}"


def with_password(url: str, password: str) -> str:
    """A server's URL once it wants this password."""
    with connect(url) as server:
        server.config_set("requirepass", password)
    return url.replace("://", f"://:{password}@", 1)


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with a_collector() as listening:
        yield listening


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Stack]:
    """One with everything on that could tell something, and secrets wherever they may be."""
    with (
        real_servers(tmp_path_factory.mktemp("server")) as servers,
        pytest.MonkeyPatch.context() as environment,
    ):
        for name, value in HOUSE.items():
            environment.setenv(name, value)
        address = f"otel:otlp-{CANARY}@127.0.0.1:{collector.port}/?key={CANARY}"
        environment.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"http://{address}")
        url = with_password(servers.url("valkey"), PASSWORD)
        root = tmp_path_factory.mktemp("stack")
        settings = {"log_level": "debug", "http_env_allowed": "MODEL_KEY"}
        settings["webhook_hosts_allowed"] = "127.0.0.0/8"
        with a_stack(root, auth="tokens", redis_url=url, **settings) as running:
            yield running


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


PLANTED: Final = {
    "Cookie": f"session={CANARY}",
    "X-Api-Key": CANARY,
    "Idempotency-Key": CANARY,
    "Traceparent": f"00-{CANARY}-01",
    "Tracestate": f"vendor={CANARY}",
    "Baggage": f"user={CANARY}",
}


def refusals(stack: Stack, good: dict[str, str]) -> list[str]:
    """What callers hear whose secrets stand where they are refused."""
    stack.redis.xadd(Keys().requests, {"v": "1", "request_id": "raw", "spec": f'{{"{CANARY}'})
    raw = wait_until(lambda: stack.redis.get(Keys().answer("raw")), what="an answer")
    return [
        asked(stack, "/v1/jobs", {"Authorization": f"Bearer {CANARY}"}),
        asked(stack, "/v1/jobs", {"Authorization": f"Basic {CANARY}"}),
        asked(stack, f"/v1/jobs?token={CANARY}", {}),
        asked(stack, f"/v1/jobs?cursor={CANARY}", good),
        asked(stack, f"/v1/jobs?state={CANARY}", good),
        asked(stack, "/v1/jobs", {**good, **PLANTED, "Origin": f"http://{CANARY}"}, b"{}"),
        asked(stack, "/v1/jobs", {**good, "Content-Type": CANARY}, b"{}"),
        asked(stack, "/v1/jobs", {**good, "Host": CANARY}),
        asked(stack, "/v1/jobs", {**good, **PLANTED}, b'{"name": "' + CANARY.encode()),
        asked(stack, "/v1/jobs", good, json.dumps({"name": "x", "inputs": {"k": CANARY}}).encode()),
        asked(stack, "/v1/jobs", good, json.dumps({"name": {"secret": CANARY}}).encode()),
        str(raw),
    ]


def works_with_secrets(stack: Stack, text: str, good: dict[str, str], said: list[str]) -> list[str]:
    """A job that fails and one that calls an endpoint, both full of secrets; their ids."""
    spec = command("sh", "-c", "exit 3", CANARY, config={"env": {"SECRET": CANARY}})
    answer = asked(stack, "/v1/jobs", {**good, **PLANTED}, json.dumps(spec).encode())
    assert answer.startswith("202 "), answer
    with OrchSync(Endpoint(stack.url, text)) as client, an_endpoint() as endpoint:
        job_id = client.jobs(limit=1).jobs[0].job_id
        record = client.wait(job_id, timeout_s=30)
        assert record.state is State.FAILED
        said += [answer, *everything_of(client, job_id)]
        secret = {"secret_headers": {"Authorization": "MODEL_KEY"}, "body": CANARY}
        calls = http(endpoint.plays(plain(b"ok")), config={**secret, "method": "POST"})
        record = client.wait(client.submit(calls).job_id, timeout_s=30)
        assert record.state is State.COMPLETED, record.attempts
        assert endpoint.asked[0].headers["authorization"] == f"Bearer model-{CANARY}"
        said += everything_of(client, record.job_id)
    return [job_id, record.job_id]


def what_the_house_tells(stack: Stack, good: dict[str, str]) -> list[str]:
    """Settings, figures, address and log."""
    said = [path.read_text() for path in (stack.home / "settings").iterdir()]
    for url in stack.endpoint()["metrics"].values():
        with urllib.request.urlopen(url) as numbers:
            said.append(numbers.read().decode())
    said.append(asked(stack, "/metrics", good))
    # The owner's own file holds the address as it is used, with its password.
    said.append((stack.home / "endpoint.json").read_text().replace(PASSWORD, ""))
    said.append(stack.log.read_text())
    assert "refused_at_the_door" in said[-1], "the log does tell that it refused"
    return said


@pytest.mark.req("SEC-2", "MET-3", "SIM-5")
def test_what_is_planted_in_headers_tokens_bodies_and_environments_is_told_to_nobody(
    stack: Stack, collector: Collector
) -> None:
    scopes = ("submit", "read", "steer", "control", "admin")
    text = made(stack, *[word for scope in scopes for word in ("--scope", scope)])["token"]
    good = {"Authorization": f"Bearer {text}", "Content-Type": "application/json"}
    said = refusals(stack, good)
    with receiving() as receiver:
        with OrchSync(Endpoint(stack.url, text)) as client:
            url = f"{receiver.url}?token={CANARY}"
            hook = client.run(calls_webhooks.add(url, tenant="default"))
        jobs = works_with_secrets(stack, text, good, said)
        wait_until(lambda: len(receiver.got) >= len(jobs), what="webhooks")
    said += [f"{got.body.decode()} {got.headers}" for got in receiver.got]
    roles = {span.role for job_id in jobs for span in collector.whole(job_id)}
    assert {"gateway", "runner", "fallback"} <= roles
    assert collector.headers[0]["x-collector-key"] == f"key-{CANARY}"
    said += [body.decode(errors="replace") for body in collector.bodies]
    said += what_the_house_tells(stack, good)
    for one in said:
        for secret in (CANARY, text, hook.secret):
            assert secret not in one, one[:500]


@pytest.mark.req("SEC-2", "CFG-2", "SIM-5")
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
