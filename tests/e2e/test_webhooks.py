"""Webhooks with real processes: told once, told again after an outage or a kill, whatever ended the job."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from contracts.states import State
from contracts.webhooks import NewWebhookAnswer
from orch.client import calls_webhooks
from orch.client.webhooks import verify
from orch.store.keys import Keys
from tests.actors.receiver import Got, Receiver, receiving
from tests.e2e.specs import shell
from tests.e2e.stack import Stack, a_stack, wait_until


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    root = tmp_path_factory.mktemp("stack")
    with a_stack(root, webhook_hosts_allowed="127.0.0.0/8") as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def hook(stack: Stack, receiver: Receiver, tenant: str) -> NewWebhookAnswer:
    return stack.client.run(calls_webhooks.add(receiver.url, tenant=tenant))


def told(receiver: Receiver, count: int = 1) -> list[Got]:
    wait_until(lambda: len(receiver.got) >= count, what=f"{count} requests")
    return receiver.got


def delivered(stack: Stack, made: NewWebhookAnswer, count: int = 1) -> None:
    def are_written_down() -> bool:
        return stack.client.run(calls_webhooks.one(made.webhook_id)).delivered == count

    wait_until(are_written_down, what=f"{count} delivered")


@pytest.mark.req("EVT-4")
def test_a_completed_job_is_told_once_and_the_receiver_can_prove_who_said_so(
    stack: Stack, receiver: Receiver
) -> None:
    registered = stack.orch("webhook", "add", receiver.url, "--tenant", "acme", "--name", "ci")
    assert registered.code == 0, registered.err
    webhook_id, secret = registered.out.split()
    job_id = stack.client.submit(shell("true", tenant="acme")).job_id
    (got,) = told(receiver)
    assert got.is_signed_by(secret)
    document = verify(got.body, got.headers, secret)
    assert (document["type"], document["data"]["job_id"]) == ("job.completed", job_id)
    assert stack.client.wait(job_id, timeout_s=30).state is State.COMPLETED
    listed = stack.orch("webhook", "list", "--tenant", "acme")
    assert webhook_id in listed.out
    assert secret not in listed.out + stack.log.read_text()
    wait_until(lambda: " delivered " in stack.orch("webhook", "deliveries", webhook_id).out)
    assert stack.orch("webhook", "test", webhook_id).code == 0
    assert json.loads(told(receiver, 2)[1].body)["type"] == "webhook.test"
    assert stack.orch("webhook", "rotate", webhook_id).out.strip() not in ("", secret)
    assert stack.orch("webhook", "remove", webhook_id).code == 0
    assert webhook_id not in stack.orch("webhook", "list").out


@pytest.mark.req("EVT-4")
def test_a_canceled_a_failed_and_a_job_of_another_tenant(stack: Stack, receiver: Receiver) -> None:
    made = hook(stack, receiver, "ends")
    job_id = stack.client.submit(shell("sleep 600", tenant="ends")).job_id
    stack.wait_for_state(job_id, State.RUNNING)
    stack.client.cancel(job_id)
    stack.run(shell("exit 3", tenant="ends"))
    stack.run(shell("true", tenant="others"))
    delivered(stack, made, 2)
    said = {json.loads(got.body)["type"] for got in receiver.got}
    assert said == {"job.canceled", "job.failed"}


@pytest.mark.req("EVT-4")
def test_a_receiver_that_was_down_is_told_when_it_is_back(stack: Stack) -> None:
    with receiving() as down:
        port = down.port
    made = stack.client.run(calls_webhooks.add(down.url, tenant="down"))
    stack.run(shell("true", tenant="down"))

    def has_failed() -> bool:
        found = stack.client.run(calls_webhooks.deliveries(made.webhook_id)).deliveries
        return [(one.state, one.tries) for one in found] == [("pending", 1)]

    wait_until(has_failed, what="a failed try")
    with receiving(port=port) as back:
        (got,) = told(back)
        assert got.is_signed_by(made.secret)
        delivered(stack, made)


@pytest.mark.req("EVT-4", "ARC-1")
def test_a_notifier_that_is_killed_before_it_wrote_down_sends_the_same_id_again(
    stack: Stack, receiver: Receiver
) -> None:
    receiver.gate.clear()
    made = hook(stack, receiver, "killed")
    stack.run(shell("true", tenant="killed"))
    told(receiver)
    dead = stack.kill("notifier")
    receiver.gate.set()
    wait_until(lambda: stack.serving_pids("notifier") - {dead}, what="another notifier")
    # What the dead one had in hand comes again after a minute; here its time is over at once.
    stack.redis.zadd(Keys().unsent, {f"killed:{made.webhook_id}": 1})
    delivered(stack, made)
    first, second = receiver.got
    assert (first.message_id, first.body) == (second.message_id, second.body)


@pytest.mark.req("EVT-4")
def test_an_inner_address_that_nobody_allowed_cannot_be_registered(stack: Stack) -> None:
    refused = stack.orch("webhook", "add", "http://169.254.169.254/latest/meta-data/")
    assert refused.code == 6
    assert "169.254.169.254 is no public address" in refused.err
