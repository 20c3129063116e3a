"""Which rows of a Delta table a reader in the driver wants, by the values of a column."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc


def is_among(column: str, values: pa.Array) -> pc.Expression:
    """Whether a column is one of these values, for a filter on a dataset of delta-rs.

    A file that a MERGE of delta-rs wrote says in its footer that its texts are views. Arrow compares no view with the
    statistics of the file (https://github.com/apache/arrow/issues/49368), so a text or bytes are brought to their plain
    type first; their statistics are not looked at then.
    """
    field = pc.field(column)
    if not (pa.types.is_integer(values.type) or pa.types.is_temporal(values.type)):
        field = field.cast(values.type)
    return field.isin(values)
