"""SQL without Spark: what is refused, what columns are named, and no alarm where only Spark can tell."""

from __future__ import annotations

import re

import pytest
from pyspark.sql import SparkSession
from pyspark.sql.types import DataType, StructType

from schemas.sql import NotSql, miss, parse_expression, references, type_of
from schemas.sql_query import parse_query

COLUMNS = StructType.fromJson(
    {
        "type": "struct",
        "fields": [
            {"name": "op", "type": "string", "nullable": True, "metadata": {}},
            {"name": "ts_ms", "type": "long", "nullable": True, "metadata": {}},
            {
                "name": "after",
                "nullable": True,
                "metadata": {},
                "type": {
                    "type": "struct",
                    "fields": [
                        {"name": "Email", "type": "string", "nullable": True, "metadata": {}},
                        {
                            "name": "labels",
                            "type": {
                                "type": "map",
                                "keyType": "string",
                                "valueType": "string",
                                "valueContainsNull": True,
                            },
                            "nullable": True,
                            "metadata": {},
                        },
                    ],
                },
            },
        ],
    }
)


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("after.email", ["after.email"]),
        ("AFTER.`Email`", ["AFTER.Email"]),
        ("op = 'd' OR op = \"t\"", ["op", "op"]),
        ("after.labels['x']", ["after.labels"]),
        ("a.b.c.d.e.f", ["a.b.c.d.e.f"]),
        ("transform(after.items, (x, i) -> x.sku || i || op)", ["after.items", "op"]),
        ("filter(xs, x -> exists(x.ys, y -> y.z > x.z))", ["xs"]),
        ("aggregate(xs, 0, (acc, x) -> acc + x, acc -> acc * 2)", ["xs"]),
        ("date_add(DAY, 1, ts_ms)", ["ts_ms"]),
        ("extract(EPOCH FROM ts_ms)", ["ts_ms"]),
        ("current_date", []),
        ("current_timestamp()", []),
        ("after.current_date", ["after.current_date"]),
        ("interval 3 days", []),
        ("named_struct('a', 1).a", []),
        ("struct(op AS x).x", ["op"]),
        ("CAST(op AS STRUCT<a: INT>).a", ["op"]),
        ("count(*)", []),
        ("x -> x.y", []),
        ("(SELECT max(a) FROM b)", []),
        ("after.select", []),
        ("op:path.to", []),
    ],
)
def test_references(sql: str, named: list[str]) -> None:
    assert sorted(str(reference) for reference in references(parse_expression(sql))) == sorted(named)


@pytest.mark.parametrize(
    ("sql", "missing"),
    [
        ("op", None),
        ("OP", None),
        ("after.email", None),
        ("after.labels.anything", None),
        ("opp", ("", "opp")),
        ("after.mail", ("after", "mail")),
        ("after.email.x", ("after.email", "x")),
    ],
)
def test_misses(sql: str, missing: tuple[str, str] | None) -> None:
    found = [miss(reference, COLUMNS) for reference in references(parse_expression(sql))]
    assert [(one.parent, one.name) if one else None for one in found] == [missing]


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("ts_ms", "bigint"),
        ("(after.email)", "string"),
        ("CAST(op AS DATE)", "date"),
        ("try_cast(op AS decimal(5, 2))", "decimal(5,2)"),
        ("op::timestamp", "timestamp"),
        ("upper(op)", None),
        ("nope", None),
    ],
)
def test_types(sql: str, kind: str | None) -> None:
    found: DataType | None = type_of(parse_expression(sql), COLUMNS)
    assert (found.simpleString() if found else None) == kind


ONLY_SPARK_READS = ["1 >>> 2", "X 'F0'", "after.select", "parse_json(a):b.c", "a:b"]
HARD = [
    *ONLY_SPARK_READS,
    "1L + 2S + 3Y + 1.5BD + 2e3D + 1.0F",
    r"op RLIKE r'\d+' AND op ILIKE 'x' AND op LIKE ANY ('x', 'y') AND op NOT LIKE 'x%' ESCAPE '/'",
    "op COLLATE UTF8_LCASE = 'a'",
    "a DIV b + a % b | ~c ^ d",
    "INTERVAL '1 10:20:30' DAY TO SECOND",
    "TIMESTAMP_NTZ '2020-01-01'",
    "overlay(a PLACING 'x' FROM 3 FOR 1)",
    "trim(BOTH 'x' FROM a)",
    "count(*) FILTER (WHERE a > 1)",
    "listagg(a, ',') WITHIN GROUP (ORDER BY b)",
    "first_value(a) IGNORE NULLS OVER (PARTITION BY b ORDER BY c ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)",
    "mask(a, lowerChar => 'q')",
    "map_zip_with(a, b, (k, v1, v2) -> v1 + v2)",
    "(a, b) IN ((1, 2), (3, 4))",
    "a IS NOT DISTINCT FROM b",
    "after.`order` || after.order || after.timestamp || after.from || after.group",
    "date(a)",
    "IDENTIFIER('a')",
    "/* c */ a -- x",
]
HARD_QUERIES = [
    "SELECT * EXCEPT (a) FROM t",
    "SELECT a FROM t LATERAL VIEW OUTER explode(x) e AS y",
    "SELECT a FROM t, LATERAL explode(x) AS e(y)",
    "SELECT a, sum(b) AS b FROM t GROUP BY GROUPING SETS ((a), ())",
    "SELECT a FROM t GROUP BY ALL ORDER BY ALL",
    "SELECT a FROM t UNPIVOT (v FOR k IN (b, c))",
    "SELECT * FROM t PIVOT (sum(b) AS s FOR a IN ('x' AS x))",
    "WITH RECURSIVE r(a) AS (VALUES (1) UNION ALL SELECT a + 1 FROM r WHERE a < 5) SELECT a FROM r",
    "SELECT a FROM t MINUS SELECT a FROM u",
    "FROM t |> WHERE a > 1 |> AGGREGATE sum(b) AS s GROUP BY a",
    "FROM t |> EXTEND a + 1 AS b |> SET a = 2 |> DROP c",
    "SELECT /*+ BROADCAST(u), REPARTITION(4, a) */ a FROM t",
    "TABLE silver.orders",
]


@pytest.mark.parametrize("sql", HARD)
def test_an_expression_that_spark_takes_is_not_refused(sql: str, spark: SparkSession) -> None:
    spark._jsparkSession.sessionState().sqlParser().parseExpression(sql)
    parse_expression(sql)


@pytest.mark.parametrize("sql", HARD_QUERIES)
def test_a_query_that_spark_takes_is_not_refused(sql: str, spark: SparkSession) -> None:
    spark._jsparkSession.sessionState().sqlParser().parsePlan(sql)
    parse_query(sql)


def test_no_example_of_spark_s_own_functions_raises_an_alarm(spark: SparkSession) -> None:
    registry = spark._jsparkSession.sessionState().functionRegistry()
    functions = registry.listFunction().iterator()
    tried, alarms = 0, []
    while functions.hasNext():
        examples = registry.lookupFunction(functions.next()).get().getExamples()
        for found in re.finditer(r"> ((?:SELECT|VALUES|WITH|FROM)\b.*?);\s*\n", examples, re.DOTALL | re.IGNORECASE):
            tried += 1
            try:
                query = parse_query(found[1])
            except NotSql as error:
                alarms.append(f"{found[1]}: {error}")
            else:
                alarms += [f"{found[1]}: {unknown.reference}" for unknown in query.unknown(lambda _: None)]
    assert tried > 1000
    assert alarms == []


@pytest.mark.parametrize(
    ("sql", "row"), [("SELECT a\nFROM t\nWHERE (", 3), ("SELECT a FROM t;\nSELECT b FROM t", 1), ("", 1)]
)
def test_a_query_that_does_not_parse_says_in_which_line(sql: str, row: int) -> None:
    with pytest.raises(NotSql) as raised:
        parse_query(sql)
    assert raised.value.row == row
