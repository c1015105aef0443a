"""`orch lint metrics`: does what is exported, asked for and written down agree?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from contracts.errors import ErrorCode, ExitCode, Refused, Unavailable
from orch.cli import stack
from orch.cli.output import emit, emit_document, harmless, say
from orch.settings import home_path

SCRAPE_S: Final = 10


def lint(
    *,
    root: Annotated[Path, Parameter(help="The checkout that is looked at.")] = Path(),
    live: Annotated[
        bool, Parameter(negative="", help="Scrape every part of the stack that runs in the home.")
    ] = False,
    scrape: Annotated[
        tuple[Path, ...], Parameter(negative="", help="A file with what a process answered.")
    ] = (),
    home: Annotated[str | None, Parameter(help="The stack's home; default ORCH_HOME.")] = None,
    as_json: Annotated[
        bool,
        Parameter(name="--json", negative="", help="Print {ok, faults, counted, skipped}."),
    ] = False,
) -> int:
    """Check metrics.lint.json against the code, the dashboards, the rules and what processes export.

    Exit 0 when all agree, 1 when not; each fault says what mends it. With --live every row must be exported
    by some part. What could not be looked at is said on stderr.
    """
    from orch.lint.run import lint_metrics

    scrapes = {str(path): _read(path) for path in scrape}
    if live:
        scrapes |= _of_stack(home)
    report = lint_metrics(root, scrapes, is_whole=live)
    if as_json:
        emit_document(
            {
                "ok": not report.faults,
                "faults": [asdict(fault) for fault in report.faults],
                "counted": report.counted,
                "skipped": list(report.skipped),
            }
        )
    else:
        for fault in report.faults:
            emit(harmless(f"{fault.rule}: {fault.where}: {fault.message}"))
            emit(f"  {harmless(fault.fix)}")
        for note in report.skipped:
            say(f"not looked at: {note}")
        looked = ", ".join(f"{count} {what}" for what, count in report.counted.items())
        say(
            f"{len(report.faults)} faults in {looked}" if looked else f"{len(report.faults)} faults"
        )
    return ExitCode.JOB_FAILED if report.faults else ExitCode.OK


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(
            ErrorCode.INVALID_REQUEST,
            f"{path} cannot be read: {error}",
            details={"path": str(path)},
        ) from error


def _of_stack(home: str | None) -> dict[str, str]:
    from urllib.error import URLError
    from urllib.request import urlopen

    place = home_path(home)
    running = stack.running_in(place)
    if running is None:
        raise Unavailable(
            ErrorCode.UNAVAILABLE, f"nothing runs in {place}", hint="Start it: orch up."
        )
    found: dict[str, str] = {}
    for part, url in running.document.get("metrics", {}).items():
        try:
            # Addresses that our own supervisor wrote down, in a file that only the owner can write.
            with urlopen(url, timeout=SCRAPE_S) as answer:  # noqa: S310 - see above
                found[part] = answer.read().decode()
        except (URLError, OSError, ValueError) as error:
            raise Unavailable(
                ErrorCode.UNAVAILABLE, f"{part} does not answer at {url}: {error}"
            ) from error
    return found
