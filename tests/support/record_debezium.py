"""Records what a real Debezium writes of a table with all kinds of types: `python -m tests.support.record_debezium`.

It starts the embedded stack, plays the script below and writes `debezium_types.json`: Connect's schema of the table's
values, the values in the order of their offsets, and what came on the topics of heartbeats and transactions. The
positions and times are those of the day it ran; tests should not name them.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final

import psycopg
from confluent_kafka import Consumer

from deploy.embedded.connect import Capture
from deploy.embedded.stack import EmbeddedStack

FILE: Final = Path(__file__).with_name("debezium_types.json")
TOPIC: Final = "shop.public.kinds"
TABLES: Final = ("public.kinds", "public.signal")
HEARTBEATS, TRANSACTIONS = "__debezium-heartbeat.shop", "shop.transaction"

DDL: Final = """
CREATE TYPE mood AS ENUM ('calm', 'busy');
CREATE TABLE signal (id text PRIMARY KEY, type text, data text);
CREATE TABLE kinds (
  id bigint PRIMARY KEY, note text,
  exact numeric(12, 2), wide numeric(38, 10), loose numeric, price money, ratio double precision, weight real,
  stamp3 timestamp(3), stamp6 timestamp(6), instant timestamptz, day date, at time, at3 time(3), zoned timetz,
  span interval, token uuid, doc json, docb jsonb, page xml, feeling mood, flags bit(12), photo bytea, yes boolean,
  tags text[], counts int[], days date[], amounts numeric(8, 2)[], stamps timestamp[],
  long_text text, long_bytes bytea, long_doc jsonb,
  long_tags text[], long_counts int[], long_bigs bigint[], long_tokens uuid[], long_days date[]
) WITH (toast_tuple_target = 128);
GRANT ALL ON signal, kinds TO debezium;
"""
LONG: Final = ("text", "bytes", "doc", "tags", "counts", "bigs", "tokens", "days")
FULL: Final = """
INSERT INTO kinds VALUES ({id}, 'full',
  1234.50, -1234567890123456789012345678.0123456789, 0.000123, 12.34, 0.1, 0.5,
  '2024-02-29 12:00:00.123', '2024-02-29 12:00:00.123456', '2024-02-29 13:00:00.123456+01', '1969-12-31',
  '23:59:59.999999', '24:00:00', '12:30:00+02', '1 year 2 days 03:04:05.000006',
  'a3bb189e-8bf9-3888-9912-ace4e6543002', '{{"b": 1}}', '{{"c": [1.50]}}', '<a/>', 'calm', B'101000000001',
  '\\x00ff', true,
  '{{a,NULL,"b c"}}', '{{1,NULL,-3}}', '{{2024-02-29}}', '{{1.50,-2.25}}', '{{2024-02-29 12:00:00.000001}}',
  (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 64) i), decode(repeat('abcd', 75), 'hex'),
  ('"' || repeat('d', 150) || '"')::jsonb, array_fill('tag'::text, ARRAY[20]), array_fill(7, ARRAY[30]),
  array_fill(8::bigint, ARRAY[20]), array_fill('a3bb189e-8bf9-3888-9912-ace4e6543002'::uuid, ARRAY[10]),
  array_fill('2024-02-29'::date, ARRAY[30]))
"""


def main() -> None:
    """Play the script and write the file."""
    settings: dict[str, str | int] = {
        "decimal.handling.mode": "precise",
        "provide.transaction.metadata": "true",
        "signal.data.collection": "public.signal",
        "incremental.snapshot.chunk.size": 10,
    }
    with EmbeddedStack() as stack:
        with psycopg.connect(stack.postgres.dsn) as connection:
            connection.execute(DDL)
            for name in LONG:
                connection.execute(f"ALTER TABLE kinds ALTER COLUMN long_{name} SET STORAGE EXTERNAL")
            connection.execute(FULL.format(id=1))
            connection.execute("INSERT INTO kinds (id) VALUES (2)")
        stack.create_topics(dict.fromkeys((TOPIC, HEARTBEATS, TRANSACTIONS), 1))
        stack.start_connect(Capture(TABLES, schemas_enable=True, connector=settings))
        topics = _Topics(stack)
        topics.until(TOPIC, 2)
        _changes(stack, topics)
        payloads = [None if value is None else value["payload"] for value in topics.found[TOPIC]]
        schema = next(value["schema"] for value in topics.found[TOPIC] if value)
        found = {
            "schema": schema,
            "payloads": payloads,
            "heartbeats": [value["payload"] for value in topics.until(HEARTBEATS, 1)[:1]],
            "transactions": [value["payload"] for value in topics.until(TRANSACTIONS, 2)[:2]],
        }
    lines = [f" {json.dumps(key)}: {_lines(value)}" for key, value in found.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _changes(stack: EmbeddedStack, topics: _Topics) -> None:
    """Each with the number of records that are on the topic afterwards."""
    script = (
        (3, FULL.format(id=3)),
        (4, "UPDATE kinds SET note = 'without the long ones' WHERE id = 3"),
        (5, "UPDATE kinds SET long_text = long_text || 'x' WHERE id = 1"),
        (8, "UPDATE kinds SET id = 4 WHERE id = 3"),  # a delete, its tombstone, a create
        (9, "INSERT INTO kinds (id, note, stamp6, instant, day) VALUES (5, 'inf', 'infinity', 'infinity', 'infinity')"),
        (
            10,
            "INSERT INTO kinds (id, note, stamp6, instant, day) VALUES (6, '-inf', '-infinity', '-infinity', "
            "'-infinity')",
        ),
    )
    for count, statement in script:
        with psycopg.connect(stack.postgres.dsn) as connection:
            connection.execute(statement)
        topics.until(TOPIC, count)
    # A transaction that begins first and commits last: its change has the lower LSN, and is the newer one.
    with psycopg.connect(stack.postgres.dsn) as early, psycopg.connect(stack.postgres.dsn) as late:
        early.execute("UPDATE kinds SET note = 'open for long' WHERE id = 1")
        late.execute("UPDATE kinds SET note = 'meanwhile' WHERE id = 2")
        late.commit()
        early.commit()
    topics.until(TOPIC, 12)
    snapshot = '{"data-collections": ["public.kinds"], "type": "incremental"}'
    with psycopg.connect(stack.postgres.dsn) as connection:
        connection.execute("INSERT INTO signal VALUES ('one', 'execute-snapshot', %s)", (snapshot,))
    topics.until(TOPIC, 17)
    for count, statement in ((19, "DELETE FROM kinds WHERE id = 4"), (20, "TRUNCATE kinds")):
        with psycopg.connect(stack.postgres.dsn) as connection:
            connection.execute(statement)
        topics.until(TOPIC, count)


class _Topics:
    def __init__(self, stack: EmbeddedStack) -> None:
        self.found: dict[str, list[Any]] = {}
        self._consumer = Consumer(
            {"bootstrap.servers": stack.kafka.bootstrap, "group.id": "recorder", "auto.offset.reset": "earliest"}
        )
        self._consumer.subscribe([TOPIC, HEARTBEATS, TRANSACTIONS])

    def until(self, topic: str, count: int) -> list[Any]:
        """The values of a topic, once it has so many."""
        deadline = time.monotonic() + 60
        while len(self.found.get(topic, [])) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic} has {len(self.found.get(topic, []))} of {count} records")
            message = self._consumer.poll(0.2)
            if message is not None and message.error() is None:
                value = message.value()
                self.found.setdefault(message.topic() or "", []).append(None if value is None else json.loads(value))
        return self.found[topic]


def _lines(value: Any) -> str:
    if not isinstance(value, list):
        return json.dumps(value)
    return "[\n" + ",\n".join(f"  {json.dumps(one)}" for one in value) + "\n ]"


if __name__ == "__main__":
    main()
