"""What keeps a table from being reconciled, each error writing its own sentence, never with a password or a value."""

from __future__ import annotations

from pathlib import Path

from schemas.errors import SluiceError, WrongUsage


class NotReconciled(WrongUsage):
    """A table was asked for whose spec does not say where its rows come from, or no table says so."""

    def __init__(self, table: str | None) -> None:
        self.table = table
        what = "No spec says" if table is None else f"The spec of {table} does not say"
        super().__init__(
            f"{what} where the rows of its table come from. A table of kind `current` may have a `reconcile` block "
            "that does; runbooks/operations/reconcile.md shows one."
        )


class SourceNotSet(WrongUsage):
    """A spec names a source database that the settings do not say how to reach."""

    def __init__(self, table: str, source: str, setting: str) -> None:
        self.table, self.source, self.setting = table, source, setting
        super().__init__(
            f"{table} comes from the source `{source}`, and the setting `sources.{source}.{setting}` is not there. "
            "Set it; runbooks/settings.md lists what a source has."
        )


class NotComparable(WrongUsage):
    """A column of `reconcile.select` can not be compared."""

    def __init__(self, table: str, column: str, why: str) -> None:
        self.table, self.column, self.why = table, column, why
        super().__init__(
            f"{table}: `reconcile.select.{column}` can not be compared: {why}. Convert it there, or leave it out."
        )


class SourceRefuses(WrongUsage):
    """The database takes a statement that was made from the spec for wrong."""

    def __init__(self, table: str, source: str, word: str, why: str) -> None:
        self.table, self.source, self.word, self.why = table, source, word, why
        super().__init__(f"{table}: the source `{source}` refuses `reconcile.{word}`: {why}. Correct the spec.")


class TableNotThere(SluiceError):
    """The lake does not have the table yet."""

    def __init__(self, table: str) -> None:
        self.table = table
        super().__init__(f"{table} is not in the lake yet. `sluice run` makes it.")


class PasswordFileNotRead(SluiceError):
    """The file with a source's password can not be read."""

    def __init__(self, source: str, file: Path, why: str) -> None:
        self.source, self.file = source, file
        super().__init__(f"The file of `sources.{source}.password_file`, {file}, can not be read: {why}.")


class SourceUnreachable(SluiceError):
    """The database does not answer, or does not let us in."""

    def __init__(self, source: str, place: str, why: str) -> None:
        self.source, self.place, self.why = source, place, why
        super().__init__(
            f"The source `{source}` at {place} can not be reached: {why}. "
            f"See the settings below `sources.{source}`, and whether the server runs."
        )


class SourceFailed(SluiceError):
    """The database broke a statement off."""

    def __init__(self, table: str, source: str, why: str) -> None:
        self.table, self.source, self.why = table, source, why
        super().__init__(f"{table}: the source `{source}` broke off: {why}. Run it again once that is mended.")
