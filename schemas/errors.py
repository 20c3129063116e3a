"""What can be wrong with a pipeline's folder or settings, each error writing its own sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class SluiceError(Exception):
    """Base of the errors that are meant for a person: `str()` says what, where and what to do."""


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong in one file, and its remedy."""

    file: Path
    line: int
    field: str
    what: str
    remedy: str

    def __str__(self) -> str:
        """`file:line field: what. remedy.`"""
        where = f"{self.file}:{self.line}" if self.line else f"{self.file}"
        field = f" {self.field}:" if self.field else ":"
        return f"{where}{field} {self.what} {self.remedy}".rstrip()


class InvalidPipeline(SluiceError):
    """The folder of contracts and specs has problems; all of them are listed."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        count = len(self.problems)
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{count} problem{'s' if count > 1 else ''} found:\n{lines}")


class InvalidSettings(SluiceError):
    """A setting is unknown or has a wrong value; all of them are listed."""

    def __init__(self, complaints: Sequence[str]) -> None:
        self.complaints = tuple(complaints)
        super().__init__("The settings are not usable:\n" + "\n".join(f"  {c}" for c in self.complaints))


class WrongUsage(SluiceError):
    """What a command was given names nothing that there is, or can not be read."""
