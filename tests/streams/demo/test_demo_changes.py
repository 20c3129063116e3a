"""The sequence of changes: the same every time, of every kind, and fit for the shop that it is applied to."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from itertools import islice

from streams.demo.broken import Record
from streams.demo.changes import BROKEN_EVERY, Change, RowChange, Seeded, changes
from tests.support.shop import encoded

NOW = datetime(2026, 3, 14, 15, 9, 26, 535897, tzinfo=UTC)
SEEDED = Seeded(customers=40, products=5, orders=60)


def first(count: int, seed: int = 1) -> list[Change]:
    return list(islice(changes(SEEDED, NOW, encoded, seed), count))


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
        "events days late",
        "events sent twice",
        "order status changes",
        "orders deleted",
        "orders placed",
        "price changes",
        "rates published",
        "visitors' events",
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


def test_events_are_of_the_past_and_one_that_is_sent_again_is_the_same() -> None:
    events = [change for change in first(3000) if isinstance(change, Record) and change.event is not None]
    by_id: dict[str, Record] = {}
    for one in events:
        assert one.event is not None
        assert one.event.event_ts <= NOW
        assert one.key == one.event.event_id.encode()
        assert by_id.setdefault(one.event.event_id, one).value == one.value
    sent_again = [one for one in events if one.kind == "events sent twice"]
    assert len(by_id) == len(events) - len(sent_again)
    assert {one.event.customer_id is None for one in events if one.event} == {True, False}
    # Sites and apps write in their own way; silver has to bring that to one form.
    assert any(one.event.event_type != one.event.event_type.strip().lower() for one in events if one.event)
