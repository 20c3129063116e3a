"""The sections of the demo's last page."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from streams.demo.compare import Comparison
from streams.demo.sample import FACT, Star
from streams.demo.tally import TopicTally

_OK, _WRONG = Text("✓", style="green"), Text("✗", style="red")


def say(console: Console, text: str, style: str = "") -> None:
    """Print a line as it is."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def print_star(console: Console, star: Star) -> None:
    """The sample of the star schema, and how much more there is."""
    grid = _grid(f"{FACT} with its dimensions", ("order", "placed (UTC)", "customer", "city", "tier", "product"))
    for heading in ("amount", "in USD"):
        grid.add_column(heading, justify="right", no_wrap=True)
    for row in star.sample:
        grid.add_row(
            str(row.order_id),
            f"{row.ordered:%d %b %H:%M:%S}",
            f"{row.customer_id} v{row.version}/{row.versions}",
            row.city,
            row.tier,
            row.product,
            f"{row.amount:,} {row.currency}",
            "-" if row.amount_usd is None else f"{row.amount_usd:,}",
        )
    console.print(grid)
    text = (
        f"{star.facts:,} facts; {star.customers:,} customers in {star.versions:,} versions,"
        f" {star.changed_customers:,} of them with more than one (v2/3: the second of three)."
    )
    if star.incomplete:
        text += f" {star.incomplete:,} facts miss a dimension or a rate in US dollars."
    say(console, text)
    say(console, "City and tier are those of the version that was valid when the order was placed.")


def print_tally(console: Console, tallies: Sequence[TopicTally], changes: Mapping[str, int]) -> None:
    """What became of the records of each topic, and the changes that the traffic made."""
    grid = _grid("Records: made = on the topic = read = accepted + rejected + dropped", ("topic",))
    for heading in ("made", "on topic", "read", "accepted", "rejected", "dropped", "made broken"):
        grid.add_column(heading, justify="right")
    grid.add_column("")
    for one in tallies:
        out = one.outcomes
        numbers = (one.made, one.on_topic, out.read, out.accepted, out.rejected, out.dropped, one.broken)
        grid.add_row(one.topic, *(f"{number:,}" for number in numbers), _WRONG if one.differences else _OK)
    console.print()
    console.print(grid)
    made = ", ".join(f"{kind} {count:,}" for kind, count in changes.items() if not kind.startswith("broken"))
    if made:
        say(console, f"The traffic: {made}.")
    say(console, "Rejected are the broken records: whole, and with the reason, in the error lane.")
    say(console, "Dropped are Debezium's tombstones, one for each deletion.")


def print_comparison(console: Console, comparisons: Sequence[Comparison]) -> None:
    """Silver beside PostgreSQL and the events that were made."""
    grid = _grid("Silver beside its source", ("table",))
    for heading in ("rows in the source", "rows in silver", "that differ"):
        grid.add_column(heading, justify="right")
    grid.add_column("")
    for one in comparisons:
        numbers = (one.in_source, one.in_silver, len(one.differing))
        grid.add_row(one.table, *(f"{number:,}" for number in numbers), _OK if one.is_equal else _WRONG)
    console.print()
    console.print(grid)


def print_next(console: Console, lake: str, log: str, *, kept: bool) -> None:
    """Where the lake lies, and what to try."""
    sluice, python = _command(), _shown(sys.executable)
    console.print()
    if kept:
        table = f"DeltaTable('{lake}/gold/fact_sales')"
        query = f"QueryBuilder().register('t', {table}).execute('SELECT * FROM t').read_all()"  # noqa: S608
        reading = f"from deltalake import DeltaTable, QueryBuilder; print({query})"
        say(console, f"The lake is in {lake}, the service's log is {log}. To look at them:")
        say(console, f"  {sluice} status --set lake={lake}")
        say(console, f"  head -n 1 {lake}/_errors/bronze/*/*/*/*.json")
        say(console, f'  {python} -c "{reading}"')
    else:
        say(console, "The lake has been removed; `make demo ARGS=--keep` leaves it for you. To try next:")
    say(console, f"  {sluice} validate    the contracts and specs that all of this was made from, checked")
    say(console, f"  {sluice} stack up    a Kafka, PostgreSQL and Debezium of your own; `stack down` ends them")
    say(console, "  README.md          how to bring in a table of your own, in five minutes")


def _grid(title: str, headings: Sequence[str]) -> Grid:
    grid = Grid(box=None, pad_edge=False, title=title, title_justify="left", title_style="bold", header_style="dim")
    for heading in headings:
        grid.add_column(heading, no_wrap=True)
    return grid


def _command() -> str:
    """How the user can call `sluice` from here."""
    return "sluice" if shutil.which("sluice") or Path(sys.argv[0]).name != "sluice" else _shown(sys.argv[0])


def _shown(path: str) -> str:
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative
