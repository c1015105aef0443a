"""`python -m bench`: Orch beside its peers in one run on this machine; README.md tells the rest."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.environments import ROOT
from bench.plan import FAMILIES, FULL, QUICK
from bench.report import document, write
from bench.roster import Peer, all_peers, chosen
from bench.rows import rows_of
from bench.run import MODES, Run
from orch.system import monotonic_ms

MINUTES: Final = {"full": 58.0, "quick": 3.0}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a few minutes: few peers, small sizes"
    )
    parser.add_argument(
        "--only", metavar="PEER,…", help="these peers; default all, or the quick ones"
    )
    parser.add_argument("--measures", metavar="FAMILY,…", help=f"of {', '.join(FAMILIES)}")
    parser.add_argument("--modes", metavar="MODE,…", help="none (no persistence), always (fsync)")
    parser.add_argument("--minutes", type=float, help="be done by then; leave out the rest")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results", metavar="FOLDER")
    return parser


def _peers(options: argparse.Namespace) -> list[Peer]:
    peers = all_peers()
    if options.only:
        return chosen(peers, options.only.split(","))
    return [peer for peer in peers if peer.quick or not options.quick]


def _some(given: str | None, known: Sequence[str]) -> list[str]:
    wanted = given.split(",") if given else list(known)
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        message = f"no {', '.join(unknown)}; there are {', '.join(known)}"
        raise ValueError(message)
    return wanted


def main() -> int:
    """Measures, writes, and prints the page."""
    options = _parser().parse_args()
    try:
        peers = _peers(options)
        families = frozenset(_some(options.measures, FAMILIES))
        wanted = _some(options.modes, MODES)
    except ValueError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 2
    kind = "quick" if options.quick else "full"
    began_ms = monotonic_ms()
    run = Run(
        peers=peers,
        sizes=QUICK if options.quick else FULL,
        families=families,
        modes=tuple(mode for mode in MODES if mode in wanted),
        minutes=options.minutes or MINUTES[kind],
    )
    run.measure()
    rows = rows_of(run.samples)
    seconds = (monotonic_ms() - began_ms) / 1_000
    found = document(peers, rows, run.noise.verdict(), kind=kind, seconds=seconds)
    write(options.out, found, rows)
    print((options.out / "latest.md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
