"""What keeps an act from being carried out, each error writing its own sentence."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.errors import SluiceError, WrongUsage


class NotAnOffset(WrongUsage):
    """A place in the source that is not there, or can not be read."""

    def __init__(self, option: str, why: str) -> None:
        self.option, self.why = option, why
        super().__init__(f"{option}: {why}")


class WouldLose(SluiceError):
    """What is asked for would leave out what can not be read again."""

    def __init__(self, table: str, ranges: Sequence[str]) -> None:
        self.table, self.ranges = table, tuple(ranges)
        super().__init__(
            f"{table}: the topic no longer has {'; '.join(ranges)}, and nothing here holds them. They would be lost. "
            "Bring them back into the topic or in by `sluice backfill`; or, if they are given up, add --accept-loss."
        )


class HalfDone(SluiceError):
    """Some tables of a rewind went back and others did not yet."""

    def __init__(self, act: str, why: str) -> None:
        self.act, self.why = act, why
        super().__init__(
            f"The rewind act:{act} was cut short: {why}. It is brought to its end before anything else is written, by "
            "a running service at once, else by the next start or command; `sluice journal` says when it is done."
        )


class NotAtRest(SluiceError):
    """Something was still in hand when everything had to be at rest."""

    def __init__(self, parts: Sequence[str], seconds: float) -> None:
        self.parts = tuple(parts)
        super().__init__(
            f"Nothing was done: {', '.join(parts)} did not come to rest within `drain_seconds` ({seconds:g} s). "
            "Ask again, or set it higher."
        )


class NoSuchTable(WrongUsage):
    """A table that is not there, or not of the kind that is asked for."""

    def __init__(self, table: str, kind: str, known: Sequence[str]) -> None:
        self.table = table
        super().__init__(f"{table} is not a {kind}. There are {', '.join(sorted(known))}.")


class FilesGone(SluiceError):
    """A version that a table should go back to can not be read any more."""

    def __init__(self, table: str, version: int, why: str) -> None:
        self.table, self.version, self.why = table, version, why
        super().__init__(
            f"{table} can not go back to version {version}: {why}. VACUUM has removed what it needs; go back less far, "
            f"or rebuild it: `sluice rebuild --as-of`, or move {table} aside and it is made anew from bronze."
        )


class WouldBreak(SluiceError):
    """A VACUUM would remove what a table has still to read."""

    def __init__(self, table: str, readers: Sequence[str], hours: float) -> None:
        self.table, self.readers, self.hours = table, tuple(readers), hours
        super().__init__(
            f"VACUUM of {table} with {hours:g} hours would remove changes that are still to be read: "
            f"{'; '.join(readers)}. Let them catch up first (`sluice status`), or keep more hours."
        )


class NotAQuery(WrongUsage):
    """A table that is pulled has no offsets of a topic."""

    def __init__(self, table: str, key: str) -> None:
        self.table, self.key = table, key
        super().__init__(
            f"{table} is pulled from a database: it has a watermark ({key}) and no offsets. Bring rows in again by "
            f"`sluice backfill --table {table} --source jdbc --from ... --to ...`."
        )
