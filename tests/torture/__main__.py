"""`make torture ROUNDS=20 SEED=1`: the long form, with a report."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from deploy import build_folder, jars
from deploy.embedded.stack import EmbeddedStack
from tests.support.moto import moto
from tests.torture.faults import FAULTS
from tests.torture.run import ENGINES, Report, Torture


def text_of(report: Report) -> str:
    lines = [
        f"# Torture, seed {report.seed}, the lake on {report.lake}",
        "",
        f"{platform.machine()}, {os.cpu_count()} cores; {report.seconds:,.0f} s.",
        "",
        "| what | number |",
        "|---|---|",
        f"| rounds | {report.rounds} |",
        *(f"| {name} | {count} |" for name, count in sorted(report.faults.items())),
        *(f"| {name} | skipped: {why} |" for name, why in sorted(report.skipped.items())),
        f"| restarts | {report.restarts} |",
        f"| records on the topics | {report.records:,} |",
        f"| lost | {len(report.lost)} |",
        f"| duplicated | {len(report.doubled)} |",
        f"| wrong | {len(report.wrong)} |",
    ]
    for engine, recoveries in sorted(report.recoveries.items()):
        spread = f"{min(recoveries):.1f} / {statistics.median(recoveries):.1f} / {max(recoveries):.1f} s"
        what = f"from the end to the first new rows, with the start, by {engine}: least / median / most"
        lines.append(f"| {what} of {len(recoveries)} | {spread} |")
    lines += [f"- {one}" for one in (*report.lost, *report.doubled, *report.wrong)]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="how many faults come")
    parser.add_argument("--seed", type=int, default=1, help="of the town and of the faults")
    parser.add_argument("--only", help="these faults alone, by name, with commas")
    parser.add_argument("--store", choices=["files", "s3"], default="files", help="where the lake lies; s3 is moto's")
    parser.add_argument(
        "--engines",
        default=",".join(ENGINES),
        help=f"who commits, drawn anew in each round: some of {', '.join(ENGINES)}, with commas",
    )
    given = parser.parse_args()
    engines, only = given.engines.split(","), given.only.split(",") if given.only else None
    if unknown := {*engines} - {*ENGINES} | {*(only or ())} - {*FAULTS}:
        parser.error(f"there is no {', '.join(unknown)}: faults are {', '.join(FAULTS)}; engines {', '.join(ENGINES)}")
    with ExitStack() as held:
        folder = held.enter_context(tempfile.TemporaryDirectory(prefix="sluice-torture-"))
        stack = held.enter_context(EmbeddedStack(tables=[]))
        store = held.enter_context(moto()) if given.store == "s3" else None
        if store is not None:
            jars.resolve("s3")
        torture = Torture(stack, Path(folder), jars.resolve("service"), given.seed, store=store, engines=engines)
        try:
            torture.run(given.rounds, only)
        finally:
            tell(torture.report, build_folder() / "torture" / f"{given.store}-{given.seed}.md")
    return 0 if torture.report.is_clean else 1


def tell(report: Report, place: Path) -> None:
    """Print the report and keep it, also one of rounds that came to no end."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text := text_of(report))
    print(f"\n{text}\nThe report is in {place}.")


if __name__ == "__main__":
    sys.exit(main())
