"""A small agent: it counts the words of its task, says so, and leaves a report.

It is a program like any other. Orch gives it a folder for what it makes; what it prints is the job's output,
and its exit code says whether it went well.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def report_of(task: str) -> dict[str, object]:
    """What the agent found out."""
    words = task.split()
    return {"words": len(words), "longest": max(words, key=len, default="")}


def main() -> int:
    """The task is the command line."""
    report = report_of(" ".join(sys.argv[1:]))
    folder = Path(os.environ["ORCH_ARTIFACT_DIR"])
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    sys.stdout.write(f"attempt {os.environ['ORCH_ATTEMPT']}: {report['words']} words\n")
    return 0 if report["words"] else 1


if __name__ == "__main__":
    sys.exit(main())
