"""What the demo prints at its end: a sample of the star schema, the tally, and what to try next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from streams.demo.compare import Comparison
from streams.demo.sample import Star
from streams.demo.tally import TopicTally

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_OK, _WRONG = Text("✓", style="green"), Text("✗", style="red")


@dataclass(frozen=True)
class Summary:
    """The end of a run; `problems` are sentences about what did not work besides."""

    star: Star
    tallies: Sequence[TopicTally]
    comparisons: Sequence[Comparison]
    problems: Sequence[str]
    changes: dict[str, int]
    first_rows: dict[str, float]
    lake: str
    log: str
    kept: bool

    @property
    def differences(self) -> list[str]:
        """Everything that is not as it must be; empty after a good run."""
        found = list(self.problems)
        found += [difference for tally in self.tallies for difference in tally.differences]
        for one in self.comparisons:
            if not one.is_equal:
                keys = ", ".join(str(key) for key in one.differing[:5])
                found.append(
                    f"silver.{one.table}: {one.in_silver:,} rows, PostgreSQL has {one.in_source:,};"
                    f" {len(one.differing):,} keys differ ({keys})"
                )
        return found

    def print(self, console: Console) -> None:
        """Print all of it."""
        console.print()
        self._print_star(console)
        self._print_tally(console)
        self._print_comparison(console)
        self._print_times(console)
        self._print_verdict(console)
        self._print_next(console)

    def _print_star(self, console: Console) -> None:
        star = self.star
        grid = _grid(
            "gold.fact_sales with its dimensions", "order", "placed (UTC)", "customer", "version", "city", "tier"
        )
        grid.add_column("product")
        grid.add_column("amount", justify="right")
        grid.add_column("")
        grid.add_column("in USD", justify="right")
        for row in star.sample:
            grid.add_row(
                str(row.order_id),
                f"{_WEEKDAYS[row.weekday - 1]} {row.ordered:%Y-%m-%d %H:%M:%S}",
                str(row.customer_id),
                row.version,
                row.city,
                row.tier,
                row.product,
                f"{row.amount:,}",
                row.currency,
                "-" if row.amount_usd is None else f"{row.amount_usd:,}",
            )
        console.print(grid)
        text = (
            f"{star.facts:,} facts, {star.customers:,} customers in {star.versions:,} versions"
            f" ({star.changed_customers:,} of them changed while you watched)."
        )
        if star.unpriced:
            text += f" {star.unpriced:,} facts have no rate in US dollars."
        _say(console, text)
        _say(console, "City and tier are those of the customer's version that was valid when the order was placed.")

    def _print_tally(self, console: Console) -> None:
        grid = _grid("Every record is accounted for: made = on topic = read = accepted + rejected + dropped", "topic")
        for heading in ("made", "on topic", "read", "accepted", "rejected", "dropped", "broken made"):
            grid.add_column(heading, justify="right")
        grid.add_column("")
        for one in self.tallies:
            out = one.outcomes
            numbers = (one.made, one.on_topic, out.read, out.accepted, out.rejected, out.dropped, one.broken)
            grid.add_row(one.topic, *(f"{number:,}" for number in numbers), _WRONG if one.differences else _OK)
        console.print()
        console.print(grid)
        made = ", ".join(f"{count:,} {kind}" for kind, count in self.changes.items() if not kind.startswith("broken"))
        if made:
            _say(console, f"The traffic: {made}.")
        _say(
            console,
            "Rejected are the broken records, whole and with the reason, in the error lane; "
            "dropped are Debezium's tombstones, one for each deletion.",
        )

    def _print_comparison(self, console: Console) -> None:
        grid = _grid("Silver equals its source", "table")
        for heading in ("in PostgreSQL", "in silver", "differing"):
            grid.add_column(heading, justify="right")
        grid.add_column("")
        for one in self.comparisons:
            numbers = (one.in_source, one.in_silver, len(one.differing))
            grid.add_row(one.table, *(f"{number:,}" for number in numbers), _OK if one.is_equal else _WRONG)
        console.print()
        console.print(grid)

    def _print_times(self, console: Console) -> None:
        times = ", ".join(f"{layer} after {seconds:.1f} s" for layer, seconds in self.first_rows.items())
        if times:
            console.print()
            _say(console, f"First rows, from a cold start: {times}.")

    def _print_verdict(self, console: Console) -> None:
        differences = self.differences
        if not differences:
            read = sum(one.outcomes.read for one in self.tallies)
            accepted = sum(one.outcomes.accepted for one in self.tallies)
            rejected = sum(one.outcomes.rejected for one in self.tallies)
            dropped = sum(one.outcomes.dropped for one in self.tallies)
            _say(
                console,
                f"The tally holds: {read:,} read = {accepted:,} accepted + {rejected:,} rejected + {dropped:,} dropped.",
                style="bold green",
            )
            return
        _say(console, "The tally does not hold:", style="bold red")
        for difference in differences:
            _say(console, f"  {difference}", style="red")

    def _print_next(self, console: Console) -> None:
        console.print()
        if self.kept:
            _say(console, f"The lake is in {self.lake}, the service's log in {self.log}.")
            _say(console, f"  sluice status --set lake={self.lake}    where each table is")
        else:
            _say(console, "The lake has been removed; `make demo ARGS=--keep` leaves it for you to look at.")
        _say(
            console,
            "  sluice stack up                  a Kafka, PostgreSQL and Debezium that stay, to try things out on",
        )
        _say(console, "  sluice validate my-pipeline      check contracts and specs of your own")
        _say(console, "The README shows how to bring in a table of your own.")


def _grid(title: str, *headings: str) -> Grid:
    grid = Grid(box=None, pad_edge=False, title=title, title_justify="left", title_style="bold", header_style="dim")
    for heading in headings:
        grid.add_column(heading)
    return grid


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
