"""`orch webhook`: whom the ends of jobs are told to."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from contracts.errors import ExitCode
from orch.cli.door import HERE, Door
from orch.cli.output import emit, emit_table, say
from orch.cli.render import at

WebhookId = Annotated[str, Parameter(name="ID", help="The webhook's id.")]


def add(
    url: Annotated[str, Parameter(name="URL", help="https://…, where to send.")],
    *,
    tenant: Annotated[str | None, Parameter(help="Whose jobs; default `default`.")] = None,
    event: Annotated[
        list[str] | None,
        Parameter(help="job.completed, job.failed, …; may be repeated, default all.", negative=""),
    ] = None,
    name: Annotated[str | None, Parameter(help="A name for people.")] = None,
    with_result: Annotated[bool, Parameter(negative="", help="Send small results along.")] = False,
    door: Door = HERE,
) -> int:
    """Register a webhook and print its secret, once: nobody can show it again."""
    from orch.client import calls_webhooks

    call = calls_webhooks.add(
        url, tenant=tenant, events=event or (), name=name, with_result=with_result
    )
    made = door.ask(call)
    if made is not None:
        emit(f"{made.webhook_id}\n{made.secret}")
        say("The second line is the secret that signs; it is not shown again.")
    return ExitCode.OK


def list_webhooks(
    *,
    tenant: Annotated[str | None, Parameter(help="Of this tenant only.")] = None,
    door: Door = HERE,
) -> int:
    """List webhooks with what became of their deliveries."""
    from orch.client import calls_webhooks

    found = door.ask(calls_webhooks.known(tenant))
    if found is None:
        return ExitCode.OK
    emit_table(
        ("WEBHOOK", "TENANT", "ON", "PENDING", "DELIVERED", "DEAD", "DROPPED", "URL", "NAME"),
        [
            (
                one.webhook_id,
                one.tenant,
                "no" if one.off else "yes",
                str(one.pending),
                str(one.delivered),
                str(one.dead),
                str(one.dropped),
                one.url,
                one.name,
            )
            for one in found.webhooks
        ],
    )
    return ExitCode.OK


def remove(webhook_id: WebhookId, *, door: Door = HERE) -> int:
    """Remove a webhook, with everything that waits for it."""
    from orch.client import calls_webhooks

    with door.client() as client:
        client.send(calls_webhooks.remove(webhook_id))
    say(f"removed {webhook_id}")
    return ExitCode.OK


def send_test(webhook_id: WebhookId, *, door: Door = HERE) -> int:
    """Send a test delivery; prints its id. `orch webhook deliveries ID` says how it went."""
    from orch.client import calls_webhooks

    posted = door.ask(calls_webhooks.test(webhook_id))
    if posted is not None:
        emit("\n".join(posted.delivery_ids))
    return ExitCode.OK


def enable(webhook_id: WebhookId, *, door: Door = HERE) -> int:
    """Go on with a webhook whose receiver had answered 410."""
    from orch.client import calls_webhooks

    with door.client() as client:
        client.send(calls_webhooks.enable(webhook_id))
    say(f"on: {webhook_id}")
    return ExitCode.OK


def rotate(
    webhook_id: WebhookId,
    *,
    overlap_ms: Annotated[
        int | None, Parameter(help="So long the old secret signs too; default a day.")
    ] = None,
    door: Door = HERE,
) -> int:
    """Replace the secret and print the new one, once."""
    from orch.client import calls_webhooks

    made = door.ask(calls_webhooks.rotate(webhook_id, overlap_ms))
    if made is not None:
        emit(made.secret)
    return ExitCode.OK


def deliveries(webhook_id: WebhookId, *, door: Door = HERE) -> int:
    """List deliveries: those that wait, dead ones, the newest delivered."""
    from orch.client import calls_webhooks

    found = door.ask(calls_webhooks.deliveries(webhook_id))
    if found is None:
        return ExitCode.OK
    emit_table(
        ("DELIVERY", "STATE", "TYPE", "JOB", "TRIES", "MADE", "NEXT", "STATUS", "ERROR"),
        [
            (
                one.delivery_id,
                one.state,
                one.type,
                one.job_id or "-",
                str(one.tries),
                at(one.made_at_ms),
                at(one.next_try_at_ms) if one.next_try_at_ms is not None else "-",
                str(one.status or "-"),
                one.error or "",
            )
            for one in found.deliveries
        ],
    )
    return ExitCode.OK


def resend(
    webhook_id: WebhookId,
    *delivery_ids: Annotated[str, Parameter(name="DELIVERY", help="Dead ones; default all.")],
    door: Door = HERE,
) -> int:
    """Try dead deliveries once more, with the ids they had; prints those."""
    from orch.client import calls_webhooks

    posted = door.ask(calls_webhooks.resend(webhook_id, delivery_ids))
    if posted is not None:
        for one in posted.delivery_ids:
            emit(one)
    return ExitCode.OK
