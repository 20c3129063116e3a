"""The queries of the shop's star: all can be worked out in the driver, and the calendar is right."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql.types import DateType, StructField, StructType

from schemas.spec import DerivedSpec
from schemas.spec_file import read_spec
from schemas.variables import Variables
from streams.compute import InDriver
from streams.exact.query import told_query, view_of

TABLES = Path(__file__).parents[2] / "schemas" / "tables"
DAYS = [date(1999, 1, 1) + timedelta(days=number) for number in range(30 * 366)]


def calendar(days: list[date], month: int) -> list[dict[str, Any]]:
    spec = read_spec(TABLES / "gold.dim_date.yml", Variables({"fiscal_year_starts_month": str(month)})).spec
    assert isinstance(spec, DerivedSpec)
    columns = {"silver.orders": "order_date", "silver.behavior": "event_date"}
    told = told_query(spec.query, {name: StructType([StructField(one, DateType())]) for name, one in columns.items()})
    assert told is not None
    given = {"silver.orders": [*days[::2], None], "silver.behavior": [*days[1::2], *days[:9]]}
    rows = {view_of(name): pa.table({columns[name]: pa.array(given[name], pa.date32())}) for name in columns}
    found: list[dict[str, Any]] = InDriver().sql(told.sql, rows).sort_by("calendar_date").to_pylist()
    return found


def test_a_day_of_the_calendar_is_what_python_says() -> None:
    found = calendar(DAYS, 1)
    assert [row["calendar_date"] for row in found] == DAYS
    for day, row in zip(DAYS, found, strict=True):
        iso = day.isocalendar()
        wanted = {
            "date_sk": int(f"{day:%Y%m%d}"),
            "calendar_date": day,
            "year": day.year,
            "quarter": (day.month + 2) // 3,
            "month": day.month,
            "month_name": f"{day:%B}",
            "day": day.day,
            "iso_weekday": iso.weekday,
            "day_name": f"{day:%A}",
            "iso_year": iso.year,
            "iso_week": iso.week,
            "fiscal_year": day.year,
            "fiscal_quarter": (day.month + 2) // 3,
            "fiscal_month": day.month,
        }
        assert row == wanted


@pytest.mark.parametrize(
    ("month", "day", "fiscal"),
    [
        (7, date(2026, 6, 30), (2026, 4, 12)),
        (7, date(2026, 7, 1), (2027, 1, 1)),
        (12, date(2026, 11, 30), (2026, 4, 12)),
        (12, date(2026, 12, 1), (2027, 1, 1)),
        (2, date(2026, 1, 31), (2026, 4, 12)),
        (4, date(2026, 9, 1), (2027, 2, 6)),
    ],
)
def test_the_fiscal_year_starts_where_the_shop_says(month: int, day: date, fiscal: tuple[int, int, int]) -> None:
    [row] = calendar([day], month)
    assert (row["fiscal_year"], row["fiscal_quarter"], row["fiscal_month"]) == fiscal
