"""What becomes of personal data in silver: the decisions of a spec, carried out on its columns.

    pii: {email: hash, full_name: mask, address: drop, phone: keep}

| decision | what the table holds                                                                            |
|----------|-------------------------------------------------------------------------------------------------|
| `hash`   | HMAC-SHA-256 of the value, 64 hexadecimal digits (STRING): equal for equal values, null for null |
| `mask`   | `***` for any text, null for any value of another type; null for null                           |
| `drop`   | no such column                                                                                  |
| `keep`   | the value                                                                                       |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    AtomicType,
    BinaryType,
    DataType,
    StringType,
    TimestampType,
    VariantType,
)

from schemas.errors import SluiceError
from schemas.hash_key import NO_KEY, HashKey
from schemas.masking import MASK
from schemas.spec import ChangeSpec

_SHA_BITS: Final = 256


class NotHashable(SluiceError):
    """A column that is to be hashed has a type of which no text is the same for equal values."""

    def __init__(self, table: str, column: str, kind: DataType) -> None:
        self.table, self.column = table, column
        self.what = f"`{column}` is {kind.simpleString().upper()}, of which there is no hash."
        self.remedy = "Take single fields out of it in `select` and hash those, or write `mask` or `drop`."
        super().__init__(f"{table}: {self.what} {self.remedy}")


@dataclass(frozen=True)
class Privacy:
    """What a table has to know beside its spec: the key, and which fields of the row are tagged as personal.

    `is_tagged` asks the contract that is in force at the moment, by the field's name.
    """

    key: HashKey = NO_KEY
    is_tagged: Callable[[str], bool] = lambda _: False


UNTAGGED: Final = Privacy()
"""Of a table above which nothing is tagged."""


def protected(changes: DataFrame, spec: ChangeSpec, key: HashKey) -> DataFrame:
    """The columns of `select` as the spec's `pii` decides; all others as they are.

    Raises InvalidSettings where a column is to be hashed and there is no key, and NotHashable.
    """
    decisions = spec.protections
    if not decisions:
        return changes
    kinds = {field.name: field.dataType for field in changes.schema.fields}
    hashed = [name for name, decision in decisions.items() if decision == "hash"]
    masked = {name: _masked(name, kinds[name]) for name, decision in decisions.items() if decision == "mask"}
    for name in hashed:
        if not is_hashable(kinds[name]):
            raise NotHashable(spec.table, name, kinds[name])
    if hashed:
        inner, outer = _pads(changes.sparkSession, key)
        masked |= {name: _hashed(_canonical_bytes(name, kinds[name]), inner, outer) for name in hashed}
    return changes.withColumns(masked).drop(*(name for name, decision in decisions.items() if decision == "drop"))


def is_hashable(kind: DataType) -> bool:
    """Whether equal values of a type have one text."""
    return isinstance(kind, AtomicType) and not isinstance(kind, VariantType)


def _masked(name: str, kind: DataType) -> Column:
    text = F.lit(MASK) if isinstance(kind, StringType) else F.lit(None)
    return F.when(F.col(name).isNotNull(), text).cast(kind)


def _canonical_bytes(name: str, kind: DataType) -> Column:
    """A value as bytes: of text its UTF-8, of a time its microseconds since 1970, else what SQL casts to text."""
    if isinstance(kind, BinaryType):
        return F.col(name)
    value = F.unix_micros(F.col(name)) if isinstance(kind, TimestampType) else F.col(name)
    return value.cast("string").cast("binary")


def _hashed(message: Column, inner: Column, outer: Column) -> Column:
    """H(outer || H(inner || message)), https://www.rfc-editor.org/rfc/rfc2104#section-2; null where `message` is."""
    digest = F.unhex(F.sha2(F.concat(inner, message), _SHA_BITS))
    return F.sha2(F.concat(outer, digest), _SHA_BITS)


def _pads(spark: SparkSession, key: HashKey) -> tuple[Column, Column]:
    """The key's two pads as the values of a one-row relation.

    As literals they would stand in every plan: in what is logged of a failure, in Spark's UI and its event log. Of a
    relation a plan shows the names of the columns, and the driver reads its row without a job.
    """
    inner, outer = key.pads
    row = spark.createDataFrame(pa.table({"inner": [inner], "outer": [outer]}))
    return row.select("inner").scalar(), row.select("outer").scalar()
