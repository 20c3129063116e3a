"""Silver held against a real PostgreSQL: what differs is named, what is the same or on its way is not."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from deltalake import DeltaTable
from pydantic import SecretStr

from checkpoints.lake import Lake
from deploy.embedded import shop
from deploy.embedded.postgres import DATABASE, PostgreSQL
from schemas.loader import load
from schemas.settings import Settings, SourceSettings
from streams.metrics import Metrics
from streams.reconcile.errors import (
    NotComparable,
    PasswordFileNotRead,
    SourceFailed,
    SourceNotSet,
    SourceRefuses,
    SourceUnreachable,
    TableNotThere,
)
from streams.reconcile.watch import watch_sources
from tests.support.reconciled import TABLE, Both, row, write_pipeline

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    one = PostgreSQL(tmp_path_factory.mktemp("reconciled") / "postgresql")
    one.start()
    yield one
    one.stop()
    for folder in one.data_elsewhere:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def login(server: PostgreSQL) -> SourceSettings:
    made = psycopg.conninfo.conninfo_to_dict(server.dsn)
    return SourceSettings(
        host=str(made["host"]),
        port=int(str(made["port"])),
        database=DATABASE,
        user=str(made["user"]),
        password=SecretStr(str(made["password"])),
    )


@pytest.fixture
def both_of(server: PostgreSQL, login: SourceSettings, tmp_path: Path) -> Callable[..., Both]:
    """Both sides of an empty table, by the words of the spec."""

    def make(**words: Any) -> Both:
        pipeline = write_pipeline(tmp_path / "pipeline", **words)
        made = Both(server.dsn, login, Lake.at(str(tmp_path / "lake")), pipeline)
        made.create()
        return made

    return make


@pytest.fixture
def both(both_of: Callable[..., Both]) -> Both:
    return both_of()


def test_the_same_rows_of_every_type_are_equal(both: Both) -> None:
    nothing = dict.fromkeys(row())
    both.both(
        row(),
        row(id=2, name="", amount=Decimal("-0.0001"), flag=False, ratio=-0.0, day=date(1, 1, 1), raw=b""),
        row(
            id=3,
            amount=Decimal("99999999999999.9999"),
            ratio=float("nan"),
            at=datetime.fromisoformat("9999-12-31T23:59:59.999999Z"),
        ),
        row(id=4, amount=Decimal(0), ratio=1e300, name="line\n break \\ ' \" % {}", uid=None),
        row(id=5, amount=Decimal(100), ratio=float("-inf"), local_at=datetime(1, 1, 1), small=-32768),
        {**nothing, "id": -6},
    )

    found = both.reconcile()

    assert (found.count, found.source_rows, found.silver_rows, found.in_flight) == (0, 6, 6, 0)
    assert both.slept == []  # nothing differed, so nothing had to be looked at again


def test_an_instant_is_the_same_in_whatever_zone_it_was_written(both: Both) -> None:
    both.silver(row())
    both.source({**row(), "at": datetime.fromisoformat("2026-03-29T03:30:00.000001+02:00")})
    both.sql("ALTER ROLE CURRENT_USER SET TimeZone = 'America/New_York'")
    try:
        assert both.texts() == []
    finally:
        both.sql("ALTER ROLE CURRENT_USER RESET TimeZone")


def test_the_scale_of_a_number_is_no_difference_and_its_value_is(both: Both) -> None:
    both.source(row(amount=Decimal("12.500000")), row(id=2, amount=Decimal("12.500001")))
    both.silver(row(amount=Decimal("12.5")), row(id=2, amount=Decimal("12.5")))

    assert both.texts() == ["id=2 differs in amount"]


@pytest.mark.parametrize(
    ("column", "ours", "theirs"),
    [
        ("name", None, ""),
        ("name", "n", None),
        ("name", "a", "a "),
        ("code", "AB", "AB  "),
        ("flag", None, False),
        ("day", date(2026, 1, 1), date(2026, 1, 2)),
        ("at", datetime.fromisoformat("2026-01-01T00:00Z"), datetime.fromisoformat("2026-01-01T00:00:00.000001Z")),
        ("local_at", datetime(2026, 1, 1), datetime(2026, 1, 1, 1)),
        ("uid", "6F9619FF-8B86-D011-B42D-00CF4FC964FF", "6f9619ff-8b86-d011-b42d-00cf4fc964ff"),
        ("raw", b"\x00", b""),
        ("ratio", 0.1, 0.1000000000000001),
        ("small", None, 0),
    ],
)
def test_a_value_that_is_another_is_named_by_its_column(both: Both, column: str, ours: Any, theirs: Any) -> None:
    both.both(row(id=2))
    both.silver(row(**{column: ours}))
    both.source(row(**{column: theirs}))

    found = both.reconcile()

    assert [one.text for one in found.differences] == [f"id=1 differs in {column}"]
    assert found.found == {"differs": 1}


def test_what_is_infinite_in_the_source_is_compared_too(both: Both) -> None:
    both.both(row())
    both.sql("UPDATE things SET day = 'infinity', at = '-infinity', local_at = 'infinity', amount = 'NaN'")

    assert both.texts() == ["id=1 differs in amount, day, at, local_at"]


def test_keys_that_one_side_lacks_are_named(both: Both) -> None:
    both.both(*(row(id=number) for number in range(5)))
    both.delta().delete("id = 1")
    both.sql("DELETE FROM things WHERE id = 3")

    found = both.reconcile()

    assert [one.text for one in found.differences] == [
        "id=1 is not in silver",
        "id=3 is in silver, and not in the source",
    ]
    assert (found.source_rows, found.silver_rows) == (4, 4)
    assert found.found == {"missing_in_silver": 1, "missing_in_source": 1}


def test_a_key_that_is_there_twice_is_named(both: Both) -> None:
    both.both(row(), row(id=2), row(id=3))
    both.silver(row(id=2), row(id=2, name="other"))
    both.source(row(id=3))

    assert both.texts() == [
        "id=2 is in silver more than once",
        "id=3 is in the source more than once, so it is no key there",
    ]


def test_rows_that_silver_hides_do_not_count(both: Both) -> None:
    both.both(row(), row(id=2))
    marked = both.delta().to_pyarrow_table().append_column("_deleted", [[None, True]])
    shutil.rmtree(both.lake.table(TABLE))
    from deltalake import write_deltalake

    write_deltalake(both.lake.table(TABLE), marked)

    assert both.texts() == ["id=2 is not in silver"]


def test_where_and_select_say_what_is_compared(both_of: Callable[..., Both]) -> None:
    select = {"id": "id -- the number", "name": "upper(name) || '%'"}
    both = both_of(select=select, where="flag OR id = 7 -- only these")
    both.source(row(name="a"), row(id=2, flag=False), row(id=7, flag=False, name="{}"))
    both.silver(row(name="A%", amount=None), row(id=7, name="{}%", small=9))

    found = both.reconcile()

    assert (found.count, found.columns) == (0, ("id", "name"))


@pytest.mark.parametrize("keys", [("uid",), ("name", "id"), ("day", "amount"), ("at",)])
def test_keys_of_other_types_and_of_several_columns_find_their_rows(
    both_of: Callable[..., Both], keys: tuple[str, ...]
) -> None:
    def numbered(number: int) -> dict[str, Any]:
        return row(
            id=number,
            uid=f"6f9619ff-8b86-d011-b42d-{number:012}",
            name=f"n{number % 3}",
            day=date(2026, 1, 1) + timedelta(days=number % 5),
            amount=Decimal(number) / 10,
            at=datetime.fromisoformat("2026-01-01T00:00Z") + timedelta(hours=number),
        )

    both = both_of(keys=keys)
    both.both(*map(numbered, range(20)))
    both.sql("DELETE FROM things WHERE id = 7; UPDATE things SET flag = false WHERE id = 12")

    assert sorted(both.texts()) == sorted(
        {
            ("uid",): [
                "uid=6f9619ff-8b86-d011-b42d-000000000007 is in silver, and not in the source",
                "uid=6f9619ff-8b86-d011-b42d-000000000012 differs in flag",
            ],
            ("name", "id"): ["name=n1, id=7 is in silver, and not in the source", "name=n0, id=12 differs in flag"],
            ("day", "amount"): [
                "day=2026-01-03, amount=0.7 is in silver, and not in the source",
                "day=2026-01-03, amount=1.2 differs in flag",
            ],
            ("at",): [
                "at=2026-01-01T07:00:00Z is in silver, and not in the source",
                "at=2026-01-01T12:00:00Z differs in flag",
            ],
        }[keys]
    )


@pytest.mark.parametrize("keys", [("id",), ("id", "small")])
def test_only_the_ranges_that_differ_are_looked_into(
    both_of: Callable[..., Both], keys: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.reconcile.table._LEAST_ROWS", 10)
    monkeypatch.setattr("streams.reconcile.table._ROWS_AT_ONCE", 25)
    both = both_of(keys=keys)
    both.both(*(row(id=number * 3 - 500) for number in range(400)))
    both.sql("UPDATE things SET name = 'x' WHERE id IN (-500, -50, -47, 697); INSERT INTO things SELECT 100000")
    both.sql("UPDATE things SET small = -3 WHERE id = 100000")

    found = both.reconcile()

    assert [(one.kind, one.key["id"]) for one in sorted(found.differences, key=lambda one: int(one.key["id"]))] == [
        ("differs", "-500"),
        ("differs", "-50"),
        ("differs", "-47"),
        ("differs", "697"),
        ("missing_in_silver", "100000"),
    ]
    assert found.ranges > 30
    assert 3 <= found.ranges_differing <= 5
    assert both.texts(sample=0.99, most_keys=1)  # a sample has differences as well, and stops at the first


def test_a_sample_compares_a_share_of_the_ranges(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.reconcile.table._LEAST_ROWS", 10)
    both.both(*(row(id=number) for number in range(200)))

    found = both.reconcile(sample=0.25)

    assert found.ranges_compared == round(found.ranges * 0.25)
    assert 0 < found.source_rows == found.silver_rows < 100
    assert found.count == 0


def test_it_stops_looking_for_keys_after_so_many_and_says_so(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.reconcile.table._LEAST_ROWS", 10)
    monkeypatch.setattr("streams.reconcile.table._ROWS_AT_ONCE", 10)
    both.both(*(row(id=number) for number in range(100)))
    both.sql("UPDATE things SET flag = false")

    found = both.reconcile(most_keys=12, shown=3)

    assert found.found == {"differs": 12}
    assert len(found.differences) == 3
    assert found.ranges_left == found.ranges_differing - 1
    assert found.count == 12 + found.ranges_left


def test_an_empty_table_lacks_every_row_of_the_source(both: Both) -> None:
    both.silver()
    both.source(*(row(id=number) for number in range(30)))

    found = both.reconcile()

    assert (found.source_rows, found.silver_rows, found.found) == (30, 0, {"missing_in_silver": 30})


def test_a_change_that_arrives_while_it_waits_is_no_difference(both: Both) -> None:
    both.both(row(), row(id=2))
    both.sql("UPDATE things SET name = 'new' WHERE id = 2; INSERT INTO things (id) VALUES (3)")

    def arrive() -> None:
        both.delta().update(updates={"name": "'new'"}, predicate="id = 2")
        both.silver({**dict.fromkeys(row()), "id": 3}, lsn=9)

    both.while_waiting = [lambda: None, arrive]

    found = both.reconcile(wait_seconds=30)

    assert (found.count, found.in_flight) == (0, 2)
    assert both.slept == [1, 2]  # it ends as soon as all is equal


def test_a_write_between_the_two_looks_is_no_difference(both: Both) -> None:
    both.both(row(), row(id=2))
    both.delta().delete("id = 1")
    both.sql("UPDATE things SET name = 'a' WHERE id = 2")
    # The source goes on: silver is always a step behind, and never has the row that was just read.
    both.while_waiting = [lambda: both.sql("UPDATE things SET name = 'b' WHERE id = 2")]

    found = both.reconcile()

    assert [one.text for one in found.differences] == ["id=1 is not in silver"]
    assert found.in_flight == 1


def test_a_row_that_is_gone_from_both_meanwhile_is_no_difference(both: Both) -> None:
    both.both(row(), row(id=2))
    both.sql("DELETE FROM things WHERE id = 2")
    both.while_waiting = [lambda: both.delta().delete("id = 2")]

    assert both.reconcile().count == 0


def test_keys_that_differ_are_given_the_whole_time(both: Both) -> None:
    both.both(row())
    both.sql("UPDATE things SET flag = false")

    both.reconcile(wait_seconds=30)

    assert both.slept == [1, 2, 4, 8, 15]
    assert sum(both.slept) == 30


def test_the_report_says_at_which_positions_it_looked(both: Both) -> None:
    both.both(row())
    both.silver(row(id=2), lsn=0x1_0000_00FF)
    with psycopg.connect(both.dsn) as connection:
        [before] = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone() or [None]

    found = both.reconcile()

    assert (found.silver_version, found.silver_position) == (1, "1/FF")
    assert found.source_position is not None
    assert found.source_position_again is not None
    assert tuple(int(part, 16) for part in before.split("/")) <= tuple(
        int(part, 16) for part in found.source_position.split("/")
    )
    assert found.silver_is_behind is False
    assert found.position == (
        f"things at {found.source_position}, and {found.source_position_again} when the keys that differed were last "
        "read; silver.things version 1, whose newest change is at 1/FF"
    )


def test_where_silver_is_behind_the_source_the_report_says_what_that_means(both: Both) -> None:
    both.silver(row())

    assert both.reconcile().position.endswith("What the source has changed since may still be on its way")


def test_personal_keys_are_masked(both_of: Callable[..., Both]) -> None:
    both = both_of(keys=("name", "id"), private=("name",))
    both.source(row(name="canary@example.com"))
    both.silver()

    found = both.reconcile()

    assert [one.text for one in found.differences] == ["name=***, id=1 is not in silver"]
    assert "canary" not in repr(found)
    assert "canary" not in str(found.to_json())


def test_a_wrong_password_is_told_without_it(both: Both) -> None:
    both.silver(row())
    both.login = both.login.model_copy(update={"password": SecretStr("canary-password")})

    with pytest.raises(SourceUnreachable, match="password authentication failed") as raised:
        both.reconcile()

    assert "canary-password" not in str(raised.value)
    assert raised.value.__suppress_context__


def test_a_server_that_is_not_there_is_told(both: Both) -> None:
    both.silver(row())
    both.login = both.login.model_copy(update={"port": 1})

    with pytest.raises(SourceUnreachable, match=r"The source `town` at 127.0.0.1:1/shop can not be reached: .*refused"):
        both.reconcile()


def test_the_password_may_be_in_a_file(both: Both, tmp_path: Path) -> None:
    both.both(row())
    password = both.login.password
    assert password is not None
    file = tmp_path / "password"
    both.login = both.login.model_copy(update={"password": None, "password_file": file})
    with pytest.raises(PasswordFileNotRead, match="No such file"):
        both.reconcile()

    file.write_text(password.get_secret_value() + "\n")

    assert both.reconcile().count == 0


@pytest.mark.parametrize(
    ("words", "error", "sentence"),
    [
        ({"table": "thinks"}, SourceRefuses, '`reconcile.table`: relation "thinks" does not exist'),
        ({"table": "attic.things"}, SourceRefuses, '`reconcile.table`: relation "attic.things" does not exist'),
        (
            {"select": {"id": "id", "name": "nmae"}},
            SourceRefuses,
            'silver.things: the source `town` refuses `reconcile.select.name`: column "nmae" does not exist',
        ),
        ({"select": {"id": "id +"}}, SourceRefuses, "`reconcile.select.id`: syntax error at or near"),
        ({"where": "flagg"}, SourceRefuses, '`reconcile.where`: column "flagg" does not exist'),
        (
            {"select": {"id": "id", "amount": "name"}},
            NotComparable,
            "`reconcile.select.amount` can not be compared: it is `text` in the source, and silver has a number there",
        ),
        ({"source": "city"}, SourceNotSet, "the setting `sources.city.host` is not there"),
    ],
)
def test_what_the_spec_has_wrong_is_told(
    both_of: Callable[..., Both], words: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    both = both_of(**words)
    both.silver(row())

    with pytest.raises(error) as raised:
        both.reconcile()

    assert sentence in str(raised.value)


def test_a_value_that_breaks_an_expression_is_not_repeated(both_of: Callable[..., Both]) -> None:
    both = both_of(select={"id": "id", "small": "name::int"})
    both.both(row(name="canary"))

    with pytest.raises(SourceFailed, match=r"InvalidTextRepresentation \(SQLSTATE 22P02\)") as raised:
        both.reconcile()

    assert "canary" not in str(raised.value)


def test_a_table_that_may_not_be_read_is_told(both: Both, server: PostgreSQL) -> None:
    both.silver(row())
    with psycopg.connect(server.admin_dsn) as admin:
        admin.execute("ALTER TABLE things OWNER TO sluice_admin")
    try:
        with pytest.raises(SourceFailed, match="permission denied for table things"):
            both.reconcile()
    finally:
        with psycopg.connect(server.admin_dsn) as admin:
            admin.execute("DROP TABLE things")


def test_a_table_that_is_not_in_the_lake_is_told(both: Both) -> None:
    with pytest.raises(TableNotThere, match=r"silver.things is not in the lake yet"):
        both.reconcile()


def test_the_service_counts_what_it_finds(both: Both) -> None:
    both.both(row(), row(id=2))
    both.sql("UPDATE things SET flag = false WHERE id = 2")
    metrics = Metrics.create("1")
    settings = Settings(lake=both.lake.root, sources={"town": both.login})
    pipeline = load(both.pipeline)

    def counted() -> float | None:
        return metrics.registry.get_sample_value("sluice_reconcile_differences", {"table": TABLE})

    watch_sources(pipeline, settings, metrics, lambda _: True, lambda: True)
    assert counted() is None
    watch_sources(pipeline, settings, metrics, lambda _: None, lambda: False)
    assert counted() == 1
    both.sql("UPDATE things SET flag = true")
    watch_sources(pipeline, settings, metrics, lambda _: None, lambda: False)
    assert counted() == 0
    assert metrics.registry.get_sample_value("sluice_last_reconcile_timestamp_seconds", {"table": TABLE})

    # What can not be compared now leaves the metric as it was.
    unreachable = both.login.model_copy(update={"port": 1})
    watch_sources(
        pipeline, settings.model_copy(update={"sources": {"town": unreachable}}), metrics, lambda _: None, lambda: False
    )
    assert counted() == 0


def test_what_a_source_keeps_for_its_slots_is_measured(both: Both, server: PostgreSQL) -> None:
    metrics = Metrics.create("1")
    settings = Settings(lake=both.lake.root, sources={"town": both.login})

    def kept() -> float:
        watch_sources(load(both.pipeline), settings, metrics, lambda _: None, lambda: False)
        found = metrics.registry.get_sample_value("sluice_source_slot_bytes", {"source": "town", "slot": "unread"})
        assert found is not None
        return found

    both.both(row())
    with psycopg.connect(server.admin_dsn, autocommit=True) as admin:
        admin.execute("SELECT pg_create_logical_replication_slot('unread', 'pgoutput')")
        try:
            before = kept()
            admin.execute("CREATE TABLE ballast AS SELECT repeat(md5(n::text), 20) FROM generate_series(1, 5000) AS n")
            assert kept() > before + 2_000_000
        finally:
            admin.execute("SELECT pg_drop_replication_slot('unread')")
            admin.execute("DROP TABLE IF EXISTS ballast")


def test_the_shop_is_compared_by_its_own_specs(server: PostgreSQL, login: SourceSettings, tmp_path: Path) -> None:
    import pyarrow as pa
    from deltalake import write_deltalake

    from streams.reconcile.run import reconcile_tables, reconciled_tables
    from streams.reconcile.table import Limits

    shop.create_tables(server.dsn)
    shop.seed(server.dsn, customers=20, products=5, orders=50)
    settings = Settings(lake=str(tmp_path / "lake"), sources={"shop_db": login})
    pipeline = load(settings.pipeline)
    names = reconciled_tables(pipeline)
    # What silver's own expressions make of Debezium's texts.
    canonical = {
        "silver.customers": "customer_id, lower(trim(email)) AS email, full_name, address, city, country::text, tier,"
        " created_at, updated_at",
        "silver.products": "product_id, sku, name, category, price, currency::text, updated_at",
        "silver.orders": "order_id, customer_id, product_id, quantity, amount, currency::text, status, order_ts,"
        " order_ts::date AS order_date, updated_at",
    }
    assert sorted(names) == sorted(canonical)
    for name, columns in canonical.items():
        with psycopg.connect(server.dsn, options="-c TimeZone=UTC") as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT {columns} FROM {name.split('.')[1]}".encode())
            assert cursor.description is not None
            found = [dict(zip([one.name for one in cursor.description], line, strict=True)) for line in cursor]
        write_deltalake(Lake.at(settings.lake).table(name), pa.Table.from_pylist(found))

    def differences() -> dict[str, list[str]]:
        found = reconcile_tables(pipeline, names, settings, Limits(wait_seconds=0), lambda _: None)
        return {one.table: [each.text for each in one.differences] for one in found if one.count or one.problem}

    assert differences() == {}
    DeltaTable(Lake.at(settings.lake).table("silver.orders")).delete("order_id = 7")
    DeltaTable(Lake.at(settings.lake).table("silver.customers")).update(
        updates={"city": "'Ulm'"}, predicate="customer_id = 3"
    )
    assert differences() == {
        "silver.orders": ["order_id=7 is not in silver"],
        "silver.customers": ["customer_id=3 differs in city"],
    }
