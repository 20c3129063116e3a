"""Texts to decimals, dates and timestamps a batch at a time, where every text is of the common form.

What is taken here is what `leaf_values` takes, to the same value; of anything else nothing is taken, and the batch is
looked at value by value. So whether a value fits never depends on its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql.types import DataType, DateType, DecimalType, TimestampNTZType, TimestampType

_YEAR: Final = "(?:[1-8][0-9]{3}|9[0-8][0-9]{2})"  # years near the ends of the calendar can leave it by their zone
_DATE: Final = f"{_YEAR}-[0-9]{{2}}-[0-9]{{2}}"
_TIME: Final = f"{_DATE}[T ][0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(?:\\.[0-9]{{1,6}})?"
_FORMS: Final[dict[type[DataType], str]] = {
    DecimalType: "^-?(?:0|[1-9][0-9]*)(?:\\.[0-9]+)?$",
    DateType: f"^{_DATE}$",
    TimestampType: f"^{_TIME}(?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])$",
    TimestampNTZType: f"^{_TIME}$",
}


def from_texts(values: Sequence[Any], kind: DataType, arrow: pa.DataType) -> pa.Array | None:
    """The values as an array of `arrow`, None where they are not all texts of the form or one does not fit."""
    form = _FORMS.get(type(kind))
    if form is None:
        return None
    try:
        texts = pa.array(values, pa.string())
        if pc.all(pc.match_substring_regex(texts, form)).as_py() is False:
            return None
        return texts.cast(arrow)
    except (pa.ArrowException, TypeError, UnicodeError):
        return None
