"""A part of a table by its key: a share of the keys drawn by their hash, or a range of one column of the key.

Whether a row is in the sample depends on its key's values alone, so that a table and what it is made from can be cut
along the same line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce
from typing import Final

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, DateType, IntegralType, NumericType, StructType, TimestampType

from schemas.errors import WrongUsage

_PARTS: Final = 1_000_000
_RANGE: Final = re.compile(r"(?P<column>[A-Za-z_][A-Za-z0-9_]*)=(?P<least>.*?)\.\.(?P<most>.*)")


class NotASample(WrongUsage):
    """What `--sample` was given is neither a share nor a range, or names no column of a key."""

    def __init__(self, text: str, why: str) -> None:
        self.text, self.why = text, why
        super().__init__(
            f"--sample {text}: {why}. Write a share of the keys, as `0.01`, or a range of a column of the table's key, "
            "as `order_id=1000..1999`; either end may be left out."
        )


@dataclass(frozen=True)
class Sample:
    """Which keys: a `share` of those of `columns`, or those of the one column from `least` to `most`, both included."""

    columns: tuple[str, ...]
    share: float | None = None
    least: str | None = None
    most: str | None = None

    def renamed(self, names: Mapping[str, str]) -> Sample:
        """The same keys by other names of their columns."""
        return replace(self, columns=tuple(names[column] for column in self.columns))

    def check(self, schema: StructType) -> None:
        """See that the ends of a range are values of its column; raises NotASample."""
        for end in (self.least, self.most):
            [name] = self.columns if end is not None else ["-"]
            if end is not None and not _is_of(end, schema[name].dataType):
                raise NotASample(f"{name}={self.least or ''}..{self.most or ''}", f"`{end}` is no value of `{name}`")

    def condition(self, schema: StructType) -> Column:
        """Whether a row of these columns is in the sample; a row that lacks a part of the key always is."""
        nameless = reduce(Column.__or__, (F.col(name).isNull() for name in self.columns))
        if self.share is not None:
            texts = (F.col(name).cast("string") for name in self.columns)
            return nameless | (F.pmod(F.xxhash64(*texts), F.lit(_PARTS)) < F.lit(round(self.share * _PARTS)))
        [name] = self.columns
        kind = schema[name].dataType
        found = F.expr("TRUE")
        if self.least is not None:
            found = found & (F.col(name) >= F.lit(self.least).try_cast(kind))
        if self.most is not None:
            found = found & (F.col(name) <= F.lit(self.most).try_cast(kind))
        return nameless | found


def _is_of(text: str, kind: DataType) -> bool:
    """Whether a text is a value of a type that ranges are usual of; of any other type, Spark may say."""
    try:
        if isinstance(kind, IntegralType):
            int(text)
        elif isinstance(kind, NumericType):
            float(text)
        elif isinstance(kind, DateType | TimestampType):
            datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class SampleAsked:
    """What `--sample` was given, before it is known of which table."""

    text: str
    share: float | None = None
    column: str = ""
    least: str | None = None
    most: str | None = None

    @classmethod
    def parse(cls, text: str) -> SampleAsked:
        """Read a share or a range; raises NotASample."""
        text = text.strip()
        if match := _RANGE.fullmatch(text):
            least, most = (match[end].strip() or None for end in ("least", "most"))
            if least is None and most is None:
                raise NotASample(text, "the range has no end")
            return cls(text, column=match["column"], least=least, most=most)
        try:
            share = float(text)
        except ValueError:
            raise NotASample(text, "that is neither") from None
        if not 0 < share <= 1:
            raise NotASample(text, "a share is above 0 and at most 1")
        return cls(text, share=share)

    def of(self, table: str, keys: tuple[str, ...]) -> Sample:
        """The sample of a table with these keys; raises NotASample."""
        if self.share is not None:
            return Sample(keys, share=self.share)
        if self.column not in keys:
            raise NotASample(self.text, f"the key of {table} is [{', '.join(keys)}]")
        return Sample((self.column,), least=self.least, most=self.most)
