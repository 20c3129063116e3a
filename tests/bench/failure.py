"""What ends a benchmark before its figures: they would mean nothing."""

from __future__ import annotations

from schemas.errors import SluiceError


class WrongResult(SluiceError):
    """What was measured did not leave what it should have left."""

    def __init__(self, what: str, difference: str) -> None:
        self.what, self.difference = what, difference
        super().__init__(f"{what}: the result is not right, so its figures mean nothing: {difference}.")


class ProgramFailed(SluiceError):
    """A program that takes part in a benchmark ended with an error."""

    def __init__(self, what: str, log: str) -> None:
        self.what = what
        lines = [line for line in log.splitlines() if line.strip()]
        super().__init__(f"{what} failed; it ended with:\n" + "\n".join(f"  {line[:400]}" for line in lines[-12:]))
