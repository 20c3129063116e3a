"""The sequence of changes: the same every time, of every kind, and fit for the shop that it is applied to."""

from __future__ import annotations

from collections import Counter
from datetime import date
from itertools import islice

from streams.demo.broken import Record
from streams.demo.changes import BROKEN_EVERY, Change, RowChange, Seeded, changes

TODAY = date(2026, 3, 14)
SEEDED = Seeded(customers=40, products=5, orders=60)


def first(count: int, seed: int = 1) -> list[Change]:
    return list(islice(changes(SEEDED, TODAY, seed), count))


def test_the_same_seed_gives_the_same_changes() -> None:
    assert first(500) == first(500)
    assert first(500) != first(500, seed=2)


def test_every_kind_of_change_comes_up() -> None:
    kinds = Counter(change.kind.partition(":")[0] for change in first(2000))
    assert set(kinds) == {
        "broken",
        "customer tier changes",
        "customers deleted",
        "customers joined",
        "customers moved",
        "order status changes",
        "orders deleted",
        "orders placed",
        "price changes",
        "rates published",
    }
    assert kinds.most_common(1)[0][0] == "orders placed"


def test_one_in_a_hundred_is_broken_whatever_the_length() -> None:
    for hundreds in (1, 3, 7):
        made = first(hundreds * BROKEN_EVERY)
        assert sum(isinstance(change, Record) and change.is_broken for change in made) == hundreds


def test_a_deletion_makes_two_records_with_its_tombstone() -> None:
    for change in first(2000):
        if isinstance(change, RowChange):
            assert change.records == (2 if "deleted" in change.kind else 1)
            assert change.topic == f"shop.public.{change.table}"


def test_changes_only_touch_rows_that_are_there() -> None:
    alive = {
        "customers": set(range(1, SEEDED.customers + 1)),
        "orders": set(range(1, SEEDED.orders + 1)),
        "products": set(range(1, SEEDED.products + 1)),
    }
    for change in first(3000):
        if not isinstance(change, RowChange):
            continue
        rows = alive[change.table]
        if change.statement.startswith("INSERT"):
            assert change.values[0] not in rows
            rows.add(int(str(change.values[0])))
            if change.table == "orders":
                assert change.values[1] in alive["customers"]
                assert change.values[2] in alive["products"]
        else:
            assert change.values[-1] in rows
            if change.statement.startswith("DELETE"):
                rows.remove(int(str(change.values[-1])))


def test_a_customer_that_moves_gets_another_city() -> None:
    cities: dict[object, object] = {}
    for change in first(3000):
        if change.kind == "customers moved" and isinstance(change, RowChange):
            _, city, customer = change.values
            assert cities.get(customer) != city
            cities[customer] = city
    assert cities
