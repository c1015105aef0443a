"""`python -m ops.drills` lists the drills, `python -m ops.drills restore` plays one; several names, several.

Exit code 0: each claim held. 1: one did not, and the line that begins with FAILED says which. 7: this machine
lacks what a drill needs, and the line that begins with LACKING says what. 6: there is no drill of that name.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Final

from redis.exceptions import RedisError

from contracts.errors import ExitCode, OrchError
from ops.drills.children import environ_of
from ops.drills.roster import DRILLS, Drill
from ops.drills.scene import ENDING_S, Failed, Lacking, Scene, scene
from orch.system import monotonic_ms

Say = Callable[[str], None]

WENT_WRONG: Final = (Failed, OrchError, OSError, subprocess.SubprocessError, RedisError)
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(argv: Sequence[str], say: Say) -> int:
    """The list, or the drills that are named; the exit code."""
    unknown = [name for name in argv if name not in DRILLS]
    if unknown:
        say(f"no drill is called {unknown[0]!r}; there are {', '.join(DRILLS)}")
        return ExitCode.BAD_INPUT
    if not argv:
        for drill in DRILLS.values():
            say(f"  {drill.name:<14} {drill.about}  (ops/runbooks/{drill.page})")
        return ExitCode.OK
    return max(played(DRILLS[name], say) for name in argv)


def played(drill: Drill, say: Say, *, ending_s: float = ENDING_S) -> int:
    """Plays one from its beginning to its end; the exit code."""
    say(f"drill {drill.name}: {drill.about}  (ops/runbooks/{drill.page})")
    began_ms = monotonic_ms()
    code, verdict = _outcome(drill, say, ending_s)
    say(f"drill {drill.name}: {verdict}, {(monotonic_ms() - began_ms) / 1_000:.1f} s")
    return code


def _outcome(drill: Drill, say: Say, ending_s: float) -> tuple[int, str]:
    try:
        with scene(say, ending_s=ending_s) as made:
            _play(drill, made)
    except Lacking as lacking:
        say(f"LACKING: {lacking}")
        return ExitCode.DEPENDENCY_MISSING, "not possible on this machine"
    except WENT_WRONG as error:
        say(f"FAILED: {str(error) or type(error).__name__}")
        return ExitCode.JOB_FAILED, "failed"
    return ExitCode.OK, "passed"


def _play(drill: Drill, made: Scene) -> None:
    """Where it fails, the last words of what it started are told while they are still there."""
    try:
        drill.play(made)
    except WENT_WRONG:
        for log in sorted(made.root.glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()[-12:]
            if lines:
                made.say(f"the end of {log.name}:")
                made.saw("\n".join(line[:400] for line in lines))
        raise


def _leave(_number: int, _frame: FrameType | None) -> None:
    """As Ctrl-C: everything that was opened is closed on the way out, which nobody can interrupt again."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    for one in _SIGNALS:
        signal.signal(one, _leave)
    for name in set(os.environ) - environ_of().keys():  # what is set for another stack
        del os.environ[name]
    try:
        sys.exit(main(sys.argv[1:], lambda line: print(line, flush=True)))
    except KeyboardInterrupt:
        print("interrupted; what was started has been stopped", flush=True)
        sys.exit(ExitCode.INTERRUPTED)
