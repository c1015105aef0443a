"""Was the machine quiet enough to tell? Looked at before every measurement, judged at the end.

Four signs: the same loop took longer than at other times, the same fsync did, the hypervisor took time away
(steal), or other programs were busy while nothing of ours ran.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Final

SPIN: Final = 400_000
"""About 10 ms of plain Python."""
SPINS: Final = 5
QUIET_S: Final = 0.08
LOOP_SPREAD_MAX: Final = 0.25
FSYNCS: Final = 5
FSYNC_RATIO_MAX: Final = 3.0
"""Between the slowest and the fastest fsync of a run; above it `always` rows compare disks, not programs."""
STEAL_MAX: Final = 0.02
OTHERS_MAX: Final = 0.10


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the machine."""

    loop_ms: float
    """The calibration loop, the best of a few."""
    others: float
    """Share of all CPUs that was busy while nothing of ours ran."""
    fsync_ms: float
    """A small append made durable, the middle one of a few."""
    steal_ticks: int
    all_ticks: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the looks say together."""

    noisy: bool
    reasons: tuple[str, ...]
    loop_ms: float
    loop_spread: float
    fsync_ms: float
    fsync_ratio: float
    steal: float
    others: float

    def document(self) -> dict[str, object]:
        """As it stands in latest.json."""
        return {
            "reasons": list(self.reasons),
            "loop_ms": round(self.loop_ms, 2),
            "loop_spread": round(self.loop_spread, 3),
            "fsync_ms": round(self.fsync_ms, 3),
            "fsync_ratio": round(self.fsync_ratio, 2),
            "steal": round(self.steal, 4),
            "others": round(self.others, 3),
        }


@dataclass(slots=True)
class Noise:
    """Collects looks."""

    folder: Path
    """On the disk that the servers write to."""
    looks: list[Look] = field(default_factory=list)

    def look(self) -> None:
        """Takes one; nothing of ours may run meanwhile."""
        before = cpu_ticks()
        time.sleep(QUIET_S)
        after = cpu_ticks()
        elapsed = max(1, after[2] - before[2])
        others = (after[0] - before[0]) / elapsed
        self.looks.append(Look(_loop_ms(), others, _fsync_ms(self.folder), after[1], after[2]))

    def verdict(self) -> Verdict:
        """Over all looks so far."""
        loops = _inner([look.loop_ms for look in self.looks])
        fsyncs = _inner([look.fsync_ms for look in self.looks])
        spread = (loops[-1] - loops[0]) / median(loops)
        first, last = self.looks[0], self.looks[-1]
        steal = (last.steal_ticks - first.steal_ticks) / max(1, last.all_ticks - first.all_ticks)
        others = mean(look.others for look in self.looks)
        disk = (median(fsyncs), fsyncs[-1] / max(fsyncs[0], 1e-6))
        return judge((median(loops), spread), disk, steal, others)


def judge(
    loop: tuple[float, float], disk: tuple[float, float], steal: float, others: float
) -> Verdict:
    """Whether such a machine can tell a ratio; `loop` is ms and spread, `disk` ms and ratio."""
    reasons, spread = [], loop[1]
    if disk[1] > FSYNC_RATIO_MAX:
        reasons.append(f"an fsync took {disk[1]:.1f} times another (at most {FSYNC_RATIO_MAX:g})")
    if spread > LOOP_SPREAD_MAX:
        reasons.append(f"the same loop varied by {spread:.0%} (at most {LOOP_SPREAD_MAX:.0%})")
    if steal > STEAL_MAX:
        reasons.append(f"{steal:.1%} of the CPU was stolen (at most {STEAL_MAX:.0%})")
    if others > OTHERS_MAX:
        reasons.append(f"other programs took {others:.0%} of the CPUs (at most {OTHERS_MAX:.0%})")
    return Verdict(bool(reasons), tuple(reasons), *loop, *disk, steal, others)


def _inner(values: list[float]) -> list[float]:
    """Sorted, the nine tenths between: one hiccup of one look says nothing about the others."""
    cut = len(values) // 20
    return sorted(values)[cut : len(values) - cut]


def cpu_ticks() -> tuple[int, int, int]:
    """Of all CPUs since the boot: busy, stolen, all."""
    line = Path("/proc/stat").read_text().splitlines()[0]
    user, nice, system, idle, iowait, irq, softirq, steal = map(int, line.split()[1:9])
    busy = user + nice + system + irq + softirq
    return busy, steal, busy + idle + iowait + steal


def _loop_ms() -> float:
    return min(_one_loop_ms() for _ in range(SPINS))


def _one_loop_ms() -> float:
    began = time.perf_counter()
    total = 0
    for number in range(SPIN):
        total += number
    return (time.perf_counter() - began) * 1_000


def _fsync_ms(folder: Path) -> float:
    with (folder / "fsync").open("ab", buffering=0) as file:
        return median(_one_fsync_ms(file.fileno()) for _ in range(FSYNCS))


def _one_fsync_ms(file: int) -> float:
    began = time.perf_counter()
    os.write(file, b"x" * 200)
    os.fdatasync(file)
    return (time.perf_counter() - began) * 1_000


def machine() -> dict[str, object]:
    """What was measured on."""
    info = Path("/proc/cpuinfo").read_text()
    model = next(
        (line.partition(":")[2].strip() for line in info.splitlines() if "model name" in line), ""
    )
    memory = Path("/proc/meminfo").read_text().split()
    return {
        "cpus": os.cpu_count(),
        "cpu": model,
        "memory_mib": int(memory[1]) // 1024,
        "kernel": os.uname().release,
    }
