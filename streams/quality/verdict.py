"""What was found of one rule, in the words of Great Expectations' results."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.quality.rule import Rule

MOST_SHOWN = 20
"""As many unexpected values are kept as Great Expectations keeps."""


@dataclass(frozen=True)
class Verdict:
    """Whether a rule holds, and the counts behind it.

    A rule over rows has counts: of `elements` rows that it is about `missing` had nothing to judge (null for the rules
    about null itself) and `unexpected` broke it. A rule over many rows at once has the number that was `observed`, null
    where there was nothing to work it out from: it then holds. `values` and `keys` are some of the unexpected rows.
    """

    rule: Rule
    success: bool
    elements: int | None = None
    missing: int | None = None
    unexpected: int | None = None
    observed: float | None = None
    values: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    @property
    def unexpected_percent(self) -> float | None:
        """The share of unexpected rows among those that could be judged, in percent."""
        if self.unexpected is None or self.elements is None:
            return None
        judged = self.elements - (self.missing or 0)
        return 100.0 * self.unexpected / judged if judged else None

    @property
    def holds_gold(self) -> bool:
        """Whether the rule keeps gold from going on."""
        return not self.success and self.rule.severity == "critical"

    @property
    def sentence(self) -> str:
        """What was found, for people; the keys are those that may be shown."""
        if self.unexpected is None:
            return f"{self.rule.label} fails: observed {_shown(self.observed)}, {self.rule.kwargs_json}"
        rows = f"{self.unexpected} of {self.elements} rows"
        more = "" if self.unexpected <= len(self.keys) else ", ..."
        return f"{self.rule.label} fails: {rows} ({'; '.join(self.keys)}{more})"


def _shown(number: float | None) -> str:
    return "nothing" if number is None else f"{number:g}"
