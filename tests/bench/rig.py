"""What the benchmarks of the common workloads share: their options, and a broker in a folder that goes away."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console

from deploy.embedded.kafka import KafkaBroker
from schemas.settings import Settings
from streams import logs
from tests.bench import machine, peers
from tests.bench.peers import Peers

_REMOVAL_SECONDS = 15.0


def options(name: str, description: str | None, events: int, folder_gb: int) -> argparse.ArgumentParser:
    """The options that all of them have."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.bench {name}", description=description)
    parser.add_argument("--events", type=int, default=events, help="events on the topic (default: %(default)s)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of Sluice other than its default; may be repeated",
    )
    parser.add_argument(
        "--peers", type=Path, default=peers.FOLDER, help="folder of the common workloads (default: beside the project)"
    )
    parser.add_argument("--folder", help=f"where the temporary folder is made; about {folder_gb} GB by default")
    return parser


def console_with_machine() -> Console:
    """Where a benchmark prints, with the machine on it already."""
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    logs.configure("ERROR", "console")
    for line in machine.description():
        console.print(line, markup=False)
    return console


@contextmanager
def temporary(folder: str | None) -> Iterator[Path]:
    """A folder that goes away, also where what was interrupted still writes into it for a moment."""
    made = Path(tempfile.mkdtemp(prefix="sluice-bench-", dir=folder)).resolve()
    try:
        yield made
    finally:
        deadline = time.monotonic() + _REMOVAL_SECONDS
        shutil.rmtree(made, ignore_errors=True)
        while made.exists() and time.monotonic() < deadline:
            time.sleep(0.5)
            shutil.rmtree(made, ignore_errors=True)


@contextmanager
def broker(chosen: argparse.Namespace) -> Iterator[tuple[Path, Peers]]:
    """A folder with a running broker, and the programs of the common workloads bound to it; raises PeersMissing."""
    peers.check(chosen.peers)
    with ExitStack() as cleanup:
        folder = cleanup.enter_context(temporary(chosen.folder))
        kafka = KafkaBroker(folder / "kafka")
        cleanup.callback(kafka.kill)
        kafka.start()
        yield folder, Peers.at(chosen.peers, folder / "peers", kafka.bootstrap)


def print_settings(console: Console, overrides: list[str]) -> None:
    """The settings that matter here."""
    settings = Settings()
    console.print(
        f"Sluice      {settings.spark.master}, heap {settings.spark.driver_memory}, "
        f"at most {settings.max_offsets_per_trigger:,} records a batch, a batch each {settings.trigger_seconds:g} s, "
        f"up to {settings.small_batch_rows:,} rows the driver commits",
        markup=False,
    )
    console.print(f"set         {', '.join(overrides) or 'nothing else'}", markup=False)


def aim(console: Console, what: str, found: str, wanted: str, *, met: bool) -> None:
    """One aim beside what was found."""
    console.print(f"{what}: {found}; the aim is {wanted}: {'met' if met else 'missed'}", markup=False)
