"""Change events of an orders table, as Debezium's PostgreSQL connector 3.6 gives them by its JSON converter.

A pool of different events is made beforehand; of each event only its key, its position and its times are filled in,
so that a million of them cost hardly more than sending them. One in a hundred can be broken, in five ways in turn.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

POOL = 5_000
BROKEN_EVERY = 100
_FIRST_MS = 1_767_225_600_000
_FIRST_LSN = 24_023_128
# Numbers that stand for what is filled in; they come in this order in every event.
_KEY, _TXN, _LSN, _MS = 111_111_111, 222_222_222, 333_333_333, 444_444_444

_BREAKS: tuple[Callable[[dict[str, Any]], object], ...] = (
    lambda row: row.update(quantity="3"),
    lambda row: row.update(quantity=0),
    lambda row: row.pop("status"),
    lambda row: row.update(order_id=None),
)


def keys_and_values(count: int, *, broken: bool) -> Iterator[tuple[bytes, bytes]]:
    """So many events, the same ones at every call; with `broken` each hundredth is."""
    pool = [_template(index, None) for index in range(POOL)]
    bad = [_template(index, index % (len(_BREAKS) + 1)) for index in range(len(_BREAKS) + 1)]
    for index in range(count):
        number, is_bad = index // BROKEN_EVERY, broken and index % BROKEN_EVERY == BROKEN_EVERY - 1
        template = bad[number % len(bad)] if is_bad else pool[index * 7919 % POOL]
        ms = _FIRST_MS + index
        yield b'{"order_id":%d}' % (index + 1), template(index + 1, index + 700, _FIRST_LSN + 56 * index, ms)


def broken_in(count: int) -> int:
    """How many of so many events are broken where any are."""
    return count // BROKEN_EVERY


def _template(index: int, breaks: int | None) -> Callable[[int, int, int, int], bytes]:
    """What makes an event of its key, transaction, LSN and time; of the last way to break one, the end is missing."""
    row = _row(index)
    if breaks is not None and breaks < len(_BREAKS):
        _BREAKS[breaks](row)
    text = json.dumps(_envelope(row), separators=(",", ":"))
    text = text.replace("%", "%%")
    for number, form in ((_KEY, "%(key)d"), (_TXN, "%(txn)d"), (_LSN, "%(lsn)d"), (_MS, "%(ms)d")):
        text = text.replace(str(number), form)
    filled_in = text.encode()
    cut = -len(filled_in) // 3 if breaks == len(_BREAKS) else None

    def fill(key: int, txn: int, lsn: int, ms: int) -> bytes:
        return (filled_in % {b"key": key, b"txn": txn, b"lsn": lsn, b"ms": ms})[:cut]

    return fill


def _row(index: int) -> dict[str, Any]:
    rng = random.Random(index)
    at = f"2026-01-{1 + index % 28:02}T{index % 24:02}:{index % 60:02}:07.{rng.randrange(1_000_000):06}Z"
    name = f"{rng.choice(['ana', 'björn', 'chloe', 'dmitri', 'eve'])}.{rng.randrange(100_000)}".replace("ö", "oe")
    return {
        "order_id": _KEY,
        "customer_id": rng.randrange(1, 200_000),
        "sku": f"{rng.choice(['AB', 'KX', 'ZT'])}-{rng.randrange(1_000_000):06}",
        "quantity": rng.randrange(1, 12),
        "amount": f"{rng.randrange(1, 250_000) / 100:.2f}",
        "currency": rng.choice(["EUR", "USD", "GBP", "CHF"]),
        "status": rng.choice(["placed", "paid", "shipped", "delivered"]),
        "email": f"{name}@example.com",
        "is_gift": rng.random() < 0.1,
        "discount": None if rng.random() < 0.5 else rng.randrange(40) / 100,
        "order_ts": at,
        "note": rng.choice([None, "leave at the door", "für Tante Grete, bitte als Geschenk verpacken"]),
    }


def _envelope(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "before": None,
        "after": row,
        "source": {
            "version": "3.6.0.Final",
            "connector": "postgresql",
            "name": "shop",
            "ts_ms": _MS,
            "snapshot": "false",
            "db": "shop",
            "sequence": f'["{_LSN}","{_LSN}"]',
            "ts_us": int(f"{_MS}123"),
            "ts_ns": int(f"{_MS}123456"),
            "schema": "public",
            "table": "orders",
            "txId": _TXN,
            "lsn": _LSN,
            "xmin": None,
        },
        "transaction": None,
        "op": "c",
        "ts_ms": _MS,
        "ts_us": int(f"{_MS}789"),
        "ts_ns": int(f"{_MS}789012"),
    }
