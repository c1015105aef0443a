"""Part 1: a coding job in a real git repository. Failing tests, a fix, passing tests, the diff kept."""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

from orch.demo.project import coder_step, git, make_project, steps_job, tests_step
from orch.demo.stage import Stage, decisive

TITLE: Final = "A coding job in a git repository: tests fail, a fix, tests pass, the diff is kept"
JOB_ID: Final = "demo-coding"
PATCH: Final = "fix.patch"
BEFORE: Final = "before.txt"
STEPS: Final = ("reproduce", "fix", "verify", "commit", "diff")


async def coding(stage: Stage) -> None:
    """Show it."""
    folder = stage.house.folder("coding")
    await make_project(folder, has_bug=True)
    base = (await git(folder, "rev-parse", "HEAD")).strip()
    stage.say(f"a repository with a bug: {folder}")
    steps = [
        coder_step("reproduce"),
        coder_step("fix"),
        tests_step(),
        {
            "id": "commit",
            "argv": ["git", "commit", "--all", "--quiet", "--message", "Lose no cent"],
        },
        {
            "id": "diff",
            "argv": ["git", "diff", f"--output={PATCH}", base, "HEAD"],
            "artifacts": [PATCH],
        },
    ]
    with stage.voice.waiting("the agent works, one step after the other"):
        job_id = await stage.submit(steps_job(JOB_ID, "fix the bill", folder, steps))
        async with aclosing(stage.follow(job_id)) as events:
            async for _ in events:
                pass
    record, ledger = await stage.conclude(job_id)
    ran = [event.payload["step_id"] for event in ledger if event.type == "step_finished"]
    stage.equal("five steps ran, each once, in order", ran, list(STEPS))
    stage.equal("one attempt brought the result", decisive(record), ["done"])
    await _judge_evidence(stage, job_id)
    await _judge_repository(stage, base)


async def _judge_evidence(stage: Stage, job_id: str) -> None:
    """The files that the job left, fetched by their digest."""
    kept = {
        artifact.name: artifact for artifact in (await stage.client.artifacts(job_id)).artifacts
    }
    if not stage.equal("two files were kept as evidence", sorted(kept), sorted([BEFORE, PATCH])):
        return
    before = await stage.client.artifact_bytes(job_id, kept[BEFORE].sha256)
    stage.holds(
        "before the fix the tests failed",
        b"FAILED (failures=1)" in before,
        expected="FAILED (failures=1)",
        found=before.decode(errors="replace")[-200:],
    )
    patch = await stage.client.artifact_bytes(job_id, kept[PATCH].sha256)
    local = (stage.house.home / "work" / "coding" / PATCH).read_bytes()
    stage.equal("the artifact is the file that git wrote", patch, local)
    stage.voice.diff(patch.decode(errors="replace"))


async def _judge_repository(stage: Stage, base: str) -> None:
    """What git itself says."""
    folder = stage.house.home / "work" / "coding"
    made = await git(folder, "rev-list", "--count", f"{base}..HEAD")
    stage.equal("git has one new commit", made.strip(), "1")
    changed = await git(folder, "diff", "--name-only", base, "HEAD")
    stage.equal("it changes one file", changed.split(), ["bill/split.py"])
