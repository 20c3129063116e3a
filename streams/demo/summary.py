"""The end of the demo: what was made beside what is there, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console

from streams.demo.compare import Comparison
from streams.demo.sample import FACT, Star
from streams.demo.sections import print_comparison, print_next, print_star, print_tally, say
from streams.demo.tally import TopicTally

_EXAMPLES = 5


@dataclass(frozen=True)
class Summary:
    """What a run came to.

    `problems` are sentences about what did not work besides; `first_rows` says after how many seconds each table
    had its first rows.
    """

    star: Star
    tallies: Sequence[TopicTally]
    comparisons: Sequence[Comparison]
    problems: Sequence[str]
    changes: Mapping[str, int]
    first_rows: Mapping[str, float]
    lake: str
    log: str
    kept: bool

    @property
    def differences(self) -> list[str]:
        """Everything that is not as it must be, a sentence each; empty after a good run."""
        found = [*self.problems, *(difference for tally in self.tallies for difference in tally.differences)]
        for one in self.comparisons:
            if not one.is_equal:
                keys = ", ".join(str(key) for key in one.differing[:_EXAMPLES])
                found.append(
                    f"silver.{one.table}: {one.in_silver:,} rows, and {one.in_source:,} in the source;"
                    f" {len(one.differing):,} keys differ: {keys}"
                )
        if not self.star.facts:
            found.append(f"{FACT} has no rows.")
        return found

    def print(self, console: Console) -> None:
        """Print all of it, the verdict below the tables."""
        console.print()
        print_star(console, self.star)
        print_tally(console, self.tallies, self.changes)
        print_comparison(console, self.comparisons)
        console.print()
        self._print_times(console)
        self._print_verdict(console)
        print_next(console, self.lake, self.log, kept=self.kept)

    def _print_times(self, console: Console) -> None:
        layers = {layer: self._first_of(layer) for layer in ("bronze", "silver", FACT)}
        times = ", ".join(f"{layer} {at:.1f} s" for layer, at in layers.items() if at is not None)
        say(console, f"Seconds from the start to the first rows: {times or 'there were none'}.")

    def _first_of(self, prefix: str) -> float | None:
        return min((at for name, at in self.first_rows.items() if name.startswith(prefix)), default=None)

    def _print_verdict(self, console: Console) -> None:
        differences = self.differences
        if differences:
            say(console, "The tally does not hold:", style="bold red")
            for difference in differences:
                say(console, f"  {difference}", style="red")
            return
        outcomes = [one.outcomes for one in self.tallies]
        read, accepted = sum(one.read for one in outcomes), sum(one.accepted for one in outcomes)
        rejected, dropped = sum(one.rejected for one in outcomes), sum(one.dropped for one in outcomes)
        parts = f"{accepted:,} accepted + {rejected:,} rejected + {dropped:,} dropped"
        say(console, f"The tally holds: {read:,} read = {parts}.", style="bold green")
