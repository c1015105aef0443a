"""The `orch` command: which commands there are, and how each ends.

Commands are named by import string, so that a call imports only its own module; those modules import
the client inside their functions. Every end is an exit code of `contracts.errors`, every failure one line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from cyclopts import App, CycloptsError

from contracts.errors import ErrorCode, ExitCode, OrchError, Refused
from orch.cli.help import asks_for_help, help_text
from orch.cli.output import show_error

COMMANDS: Final = (
    ("up", "orch.cli.up:up", "Start a local stack: a private Valkey, the actors, the gateway."),
    ("down", "orch.cli.down:down", "Stop the stack of a home."),
    ("demo", "orch.cli.project:demo", "Run the demonstration: crash a runner, lose nothing."),
    ("init", "orch.cli.project:init", "Write an example job.yaml and a commented orch.toml."),
    ("submit", "orch.cli.submit:submit", "Submit the job that a YAML or JSON file describes."),
    ("list", "orch.cli.jobs:list_jobs", "List jobs, newest first."),
    ("status", "orch.cli.jobs:status", "Show one job: state, attempts, open question."),
    ("explain", "orch.cli.jobs:explain", "Say why a job is where it is, and what unblocks it."),
    ("events", "orch.cli.follow:events", "Show a job's ledger."),
    ("logs", "orch.cli.follow:logs", "Show a job's output."),
    ("wait", "orch.cli.follow:wait", "Wait for a job; exit 0 completed, 1 failed, 4 blocked."),
    ("artifacts", "orch.cli.artifacts:artifacts", "List the files that a job left, or fetch one."),
    ("answer", "orch.cli.steer:answer", "Answer the question that a blocked job asks."),
    ("approve", "orch.cli.steer:approve", "Answer an approval with `approve`."),
    ("deny", "orch.cli.steer:deny", "Answer an approval with `deny`."),
    ("cancel", "orch.cli.steer:cancel", "Cancel a job; a running agent is stopped."),
    ("pause", "orch.cli.steer:pause", "Pause a job; a running one stops at its next step."),
    ("resume", "orch.cli.steer:resume", "Let a paused job go on."),
    ("pools", "orch.cli.control:pools", "List pools: runners, slots, what waits and what runs."),
    ("doctor", "orch.cli.doctor:doctor", "Check what Orch needs; every failure has a fix."),
    ("version", "orch.cli.project:version", "Print the version."),
)

DEAD_LETTER_COMMANDS: Final = (
    ("list", "orch.cli.dead_letters:list_letters", "List dead letters, newest first."),
    ("replay", "orch.cli.dead_letters:replay", "Try dead letters again, each as a new job."),
)

WEBHOOK_COMMANDS: Final = (
    ("add", "orch.cli.webhooks:add", "Register a webhook; prints its id and its secret."),
    ("list", "orch.cli.webhooks:list_webhooks", "List webhooks and what they were told."),
    ("remove", "orch.cli.webhooks:remove", "Remove a webhook."),
    ("test", "orch.cli.webhooks:send_test", "Send a test delivery."),
    ("deliveries", "orch.cli.webhooks:deliveries", "List a webhook's deliveries."),
    ("resend", "orch.cli.webhooks:resend", "Try dead deliveries once more."),
    ("rotate", "orch.cli.webhooks:rotate", "Replace a webhook's secret."),
    ("enable", "orch.cli.webhooks:enable", "Switch a webhook on again."),
)

SCHEDULE_COMMANDS: Final = (
    ("put", "orch.cli.schedules:put", "Store the schedule that a YAML or JSON file describes."),
    ("list", "orch.cli.schedules:list_schedules", "List schedules, newest first."),
    ("show", "orch.cli.schedules:show", "Show one schedule: its times, and what came of the last."),
    ("delete", "orch.cli.schedules:delete", "Take a schedule away; its jobs stay."),
    ("pause", "orch.cli.schedules:pause", "Let a schedule make no jobs until it is resumed."),
    ("resume", "orch.cli.schedules:resume", "Let a paused schedule go on."),
    ("fire", "orch.cli.schedules:fire", "Make a job of a schedule now; exit 1 when none was made."),
    (
        "next",
        "orch.cli.schedules:show_times",
        "Show when a cron expression comes; needs no server.",
    ),
)

TOKEN_COMMANDS: Final = (
    ("create", "orch.cli.tokens:create", "Make a token for the gateway; it is shown once."),
    ("list", "orch.cli.tokens:list_tokens", "List tokens, oldest first."),
    ("revoke", "orch.cli.tokens:revoke", "Take a token back."),
)

CONTROL_COMMANDS: Final = (
    ("drain", "orch.cli.control:drain", "Let a pool or runner finish, and give it nothing new."),
    ("undrain", "orch.cli.control:undrain", "Take work again."),
    ("pause", "orch.cli.control:pause", "Close intake, dispatch or both."),
    ("resume", "orch.cli.control:resume", "Open what a pause has closed."),
    ("cancel", "orch.cli.control:cancel", "Cancel every live job that a filter fits."),
    ("set-limit", "orch.cli.control:set_limit", "Override a limit of a pool, line, tenant or key."),
    ("reload", "orch.cli.control:reload", "Have the stack read its configuration again."),
    ("status", "orch.cli.control:status", "Show what became of a command."),
    ("list", "orch.cli.control:list_commands", "List commands, newest first."),
)

SESSION_COMMANDS: Final = (
    ("list", "orch.cli.sessions:list_sessions", "List sessions that have live jobs."),
    ("show", "orch.cli.sessions:show", "Show the live jobs of a session, and who runs."),
)

LINT_COMMANDS: Final = (
    ("metrics", "orch.cli.lint:lint", "Check metrics against code, dashboards, rules and scrapes."),
)

GROUPS: Final = (
    ("control", "Commands of operators.", CONTROL_COMMANDS),
    ("dead-letter", "Jobs that were given up on.", DEAD_LETTER_COMMANDS),
    ("lint", "Checks of what is written down.", LINT_COMMANDS),
    ("schedule", "Jobs made by time.", SCHEDULE_COMMANDS),
    ("session", "Sessions that have live jobs.", SESSION_COMMANDS),
    ("token", "Who may call the gateway.", TOKEN_COMMANDS),
    ("webhook", "Whom the ends of jobs are told to.", WEBHOOK_COMMANDS),
)

ABOUT: Final = "Durable execution of AI-agent work on Redis or Valkey."


def build_app() -> App:
    """The command tree. Help is ours (`help.py`): cyclopts would import rich to print it."""
    app = App(
        name="orch",
        help=ABOUT,
        help_flags=[],
        version_flags=[],
        suppress_keyboard_interrupt=False,
    )
    for name, where, about in COMMANDS:
        app.command(where, name=name, help=about, help_flags=[], version_flags=[])
    config = App(name="config", help="Show the settings.", help_flags=[], version_flags=[])
    config.command(
        "orch.cli.config:show",
        name="show",
        help="Show every setting, its value and where it came from.",
        help_flags=[],
        version_flags=[],
    )
    app.command(config)
    for group, about_group, listed in GROUPS:
        below = App(name=group, help=about_group, help_flags=[], version_flags=[])
        for name, where, about in listed:
            below.command(where, name=name, help=about, help_flags=[], version_flags=[])
        app.command(below)
    return app


def run(argv: Sequence[str]) -> int:
    """Run one command line; the exit code. Never raises for what a user or a server can do."""
    as_json = "--json" in argv
    try:
        try:
            return _call(argv)
        except CycloptsError as error:
            usage = Refused(ErrorCode.INVALID_REQUEST, str(error), hint=_usage_hint(argv))
            return show_error(usage, as_json=as_json)
        except OrchError as error:
            return show_error(error, as_json=as_json)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return _reader_gone()


def _call(argv: Sequence[str]) -> int:
    app = build_app()
    if asks_for_help(argv):
        print(help_text(app, argv), flush=True)
        return ExitCode.OK
    words = ["version"] if list(argv) == ["--version"] else list(argv)
    code = app(words, exit_on_error=False, print_error=False, result_action="return_value")
    sys.stdout.flush()
    return int(code or 0)


def _usage_hint(argv: Sequence[str]) -> str:
    known = {name for name, _, _ in COMMANDS}
    command = f" {argv[0]}" if argv and argv[0] in known else ""
    return f"`orch{command} --help` shows how it is called."


def _reader_gone() -> int:
    """Whoever read our output has enough (`orch logs ID | head`): no error, and no noise at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.OK


def main() -> None:
    """The console entry."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # real streams here
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
