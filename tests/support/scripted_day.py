"""The source of the scripted day: its tables, its pipeline, and what its own log says that the versions must be.

`account` has a key of two columns and a large column; a trigger writes each of its changes to `account_log`, which
nothing captures: the truth about every version of every key, told by the database alone. `kinds` has a column of every
type, see record_debezium.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import psycopg

from tests.support import kinds
from tests.support.record_debezium import DDL as KINDS_DDL
from tests.support.record_debezium import LONG

Key = tuple[str, int]
Values = tuple[Any, ...]
Span = tuple[Values, datetime, datetime | None]

LARGE: Final = "x" * 3_000
"""A value that PostgreSQL keeps outside of its row, and does not log when an update leaves it as it was."""

TABLES: Final = ("public.account", "public.kinds", "public.signal")
ACCOUNT: Final = ("region", "number", "owner", "balance", "terms")
_MOVED_BY: Final = 1_000

_DDL: Final = """
CREATE TABLE account (
  region text, number bigint, owner text, balance numeric(12, 2), terms text, PRIMARY KEY (region, number)
) WITH (toast_tuple_target = 128);
ALTER TABLE account ALTER COLUMN terms SET STORAGE EXTERNAL;
CREATE TABLE account_log (
  seq bigserial PRIMARY KEY, op text, region text, number bigint, owner text, balance numeric(12, 2), terms text
);
CREATE FUNCTION log_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    INSERT INTO account_log (op) VALUES ('truncate');
    RETURN NULL;
  END IF;
  IF TG_OP = 'DELETE' OR TG_OP = 'UPDATE' AND (OLD.region, OLD.number) <> (NEW.region, NEW.number) THEN
    INSERT INTO account_log (op, region, number) VALUES ('gone', OLD.region, OLD.number);
  END IF;
  IF TG_OP <> 'DELETE' THEN
    INSERT INTO account_log (op, region, number, owner, balance, terms)
    VALUES ('is', NEW.region, NEW.number, NEW.owner, NEW.balance, NEW.terms);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER log_rows AFTER INSERT OR UPDATE OR DELETE ON account FOR EACH ROW EXECUTE FUNCTION log_account();
CREATE TRIGGER log_truncate AFTER TRUNCATE ON account FOR EACH STATEMENT EXECUTE FUNCTION log_account();
"""

_ACCOUNT_CONTRACT: Final[dict[str, Any]] = {
    "type": "object",
    "required": list(ACCOUNT),
    "properties": {
        "region": {"type": "string"},
        "number": {"type": "integer"},
        "owner": {"type": ["string", "null"]},
        "balance": {"type": ["string", "null"], "x-debezium": kinds.DECIMAL, "x-type": "decimal(12,2)"},
        "terms": {"type": ["string", "null"]},
    },
}
_FEED: Final = """
sequence_by: [_source_position]
apply_as_deletes: "op = 'd'"
apply_as_truncates: "op = 't'"
"""
_VERSIONS: Final = """
table: gold.dim_account
from: silver.account_history
keys: [region, number]
stored_as_scd_type: 2
surrogate_key: account_sk
valid_from: changed_at
first_version: valid_from
track_history_except_column_list: [changed_at]
"""

# What a column is in silver, where the driver of the database gives it otherwise.
_AS_IN_SILVER: Final = {
    "price": "price::numeric",
    "at": "(extract(epoch FROM at) * 1000000)::bigint",
    "at3": "(extract(epoch FROM at3) * 1000000)::bigint",
    "zoned": "replace((zoned AT TIME ZONE 'UTC')::text, '+00', 'Z')",
    "span": "(extract(epoch FROM span) * 1000000)::bigint",
    "flags": "flags::text",
    "long_tokens": "long_tokens::text[]",
    **{name: f"{name}::text" for name in ("token", "doc", "docb", "page", "feeling", "long_doc")},
}


def write_pipeline(folder: Path) -> Path:
    """Contracts and specs: both tables in bronze and silver, the history and the versions of the accounts."""
    for name in ("contracts", "tables"):
        (folder / name).mkdir(parents=True)
    for name, contract in (("account", _ACCOUNT_CONTRACT), ("kinds", kinds.CONTRACT)):
        text = json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **contract})
        (folder / "contracts" / f"{name}.schema.json").write_text(text)
    keys = {"account": "[region, number]", "kinds": "[id]"}
    columns = {"account": ACCOUNT, "kinds": tuple(kinds.PROPERTIES)}
    specs = {"gold.dim_account": _VERSIONS}
    for name, key in keys.items():
        source = f"source: {{topic: shop.public.{name}, format: debezium-json, source_system: shop}}"
        specs[f"bronze.{name}"] = f"table: bronze.{name}\n{source}\ncontract: {name}\nkeys: {key}\n"
        select = "select:\n" + "".join(f"  {column}: after.{column}\n" for column in columns[name])
        feed = f"from: bronze.{name}\nkeys: {key}{_FEED}{select}"
        specs[f"silver.{name}"] = f"table: silver.{name}\nstored_as_scd_type: 1\n{feed}"
        if name == "account":
            changed_at = "  changed_at: timestamp_millis(source.ts_ms)\n"
            specs["silver.account_history"] = f"table: silver.account_history\nstored_as: history\n{feed}{changed_at}"
    for name, text in specs.items():
        (folder / "tables" / f"{name}.yml").write_text(text.lstrip())
    return folder


class Source:
    """The database of the day."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._random = random.Random(5)

    def create(self) -> None:
        """Make the tables; arrays that Debezium has no placeholder for stay within their row."""
        self.run(KINDS_DDL, _DDL)
        self.run(*(f"ALTER TABLE kinds ALTER COLUMN long_{name} SET STORAGE EXTERNAL" for name in LONG))
        self.run(*(f"ALTER TABLE kinds ALTER COLUMN {name} SET STORAGE PLAIN" for name in ("amounts", "stamps")))

    def run(self, *statements: str) -> None:
        """Each statement in a transaction of its own."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[call-overload]

    def query(self, statement: str) -> list[Values]:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(statement).fetchall()  # type: ignore[call-overload,no-any-return]

    def put(self, number: int, owner: str, balance: str, terms: str) -> None:
        self.run(f"INSERT INTO account VALUES ('eu', {number}, '{owner}', {balance}, '{terms}')")

    def traffic(self, changes: int) -> None:
        """So many changes of accounts, each in a transaction of its own.

        A key changes only where its row is small: in the row under the new key, Debezium has a placeholder for what
        is large, and no earlier value of that key is there to be kept.
        """
        self.run(*(self._change() for _ in range(changes)))

    def traffic_beside_a_snapshot(self) -> None:
        """Ask for an incremental snapshot, and change accounts while its first chunks are read, and after.

        Errors: TimeoutError where nothing is read.
        """
        data = json.dumps({"data-collections": ["public.account", "public.kinds"], "type": "incremental"})
        self.run(f"INSERT INTO signal VALUES ('one', 'execute-snapshot', '{data}')")
        deadline = time.monotonic() + 60
        while self.query("SELECT count(*) FROM signal WHERE type = 'snapshot-window-close'")[0][0] < 4:
            if time.monotonic() > deadline:
                raise TimeoutError("Debezium reads no chunk of the incremental snapshot")
            self.traffic(5)
            time.sleep(0.01)
        self.traffic(30)

    def _change(self) -> str:
        number = self._random.randint(10, 35)
        where = f"WHERE region = 'eu' AND number = {number}"
        terms = LARGE + str(number) if self._random.random() < 0.4 else "brief"
        cents = self._random.randint(0, 3)
        other = number + _MOVED_BY
        is_free = f"NOT EXISTS (SELECT 1 FROM account WHERE region = 'us' AND number = {other})"
        owner = "NULL" if cents == 0 else f"'o{cents}'"
        insert = (
            f"INSERT INTO account VALUES ('eu', {number}, 'new', 0.0{cents}, '{terms}') "
            "ON CONFLICT (region, number) DO UPDATE SET owner = EXCLUDED.owner"
        )
        statements = [
            insert,
            insert,
            f"UPDATE account SET balance = {number}.0{cents} {where}",
            f"UPDATE account SET owner = {owner} {where}",
            f"UPDATE account SET terms = '{terms}' {where}",
            f"DELETE FROM account {where}",
            f"UPDATE account SET region = 'us', number = {other} {where} AND length(terms) < 100 AND {is_free}",
            f"DELETE FROM account WHERE region = 'us' AND number = {other}",
        ]
        return self._random.choice(statements)

    def accounts(self) -> dict[Key, Values]:
        rows = self.query(f"SELECT {', '.join(ACCOUNT)} FROM account")
        return {(region, number): tuple(rest) for region, number, *rest in rows}

    def all_kinds(self) -> dict[int, dict[str, Any]]:
        """By id, the rows of `kinds` as silver should have them."""
        columns = ", ".join(_AS_IN_SILVER.get(name, f'"{name}"') for name in kinds.PROPERTIES)
        rows = [dict(zip(kinds.PROPERTIES, row, strict=True)) for row in self.query(f"SELECT {columns} FROM kinds")]
        for row in rows:
            bits = row["flags"]
            row["flags"] = bits and int(bits, 2).to_bytes(2, "little")
        return {row["id"]: row for row in rows}

    def logged(self) -> int:
        """How many changes the log has so far."""
        return int(self.query("SELECT coalesce(max(seq), 0) FROM account_log")[0][0])

    def states(self, lost: range) -> dict[Key, list[Values | None]]:
        """What each key was, one after the other, None where it was not there; all before the first left out.

        Of the changes that the log has in `lost`, only what they came to in the end was seen.
        """
        log = self.query("SELECT seq, op, region, number, owner, balance, terms FROM account_log ORDER BY seq")
        found: dict[Key, list[Values | None]] = {}
        unseen: dict[Key, Values | None] = {}

        def enter(key: Key, state: Values | None) -> None:
            states = found.setdefault(key, [None])
            if states[-1] != state:
                states.append(state)

        for seq, op, region, number, *values in log:
            if seq not in lost and unseen:
                for key, state in unseen.items():
                    enter(key, state)
                unseen = {}
            keys: Iterable[Key] = list(found) if op == "truncate" else [(region, number)]
            for key in keys:
                state = tuple(values) if op == "is" else None
                if seq in lost:
                    unseen[key] = state
                else:
                    enter(key, state)
        for key, state in unseen.items():
            enter(key, state)
        return {key: states[1:] for key, states in found.items() if states[1:]}


def states_of(spans: Iterable[Span]) -> list[Values | None]:
    """The same of a key's versions: (values, valid_from, valid_to); None for the time between two, and after the last.

    Errors: AssertionError where two overlap, or one is empty.
    """
    ordered = sorted(spans, key=lambda span: span[1])
    found: list[Values | None] = []
    for index, (values, start, end) in enumerate(ordered):
        following = ordered[index + 1][1] if index + 1 < len(ordered) else None
        found.append(values)
        if end is not None:
            assert start < end
            assert following is None or end <= following
            if following != end:
                found.append(None)
        else:
            assert following is None
    return found
