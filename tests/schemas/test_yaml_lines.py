"""YAML with lines: scalars by YAML 1.2, faults instead of silence, the line of each key."""

from __future__ import annotations

import pytest

from schemas.yaml_lines import Fault, NotYaml, parse

TEXT = """\
table: silver.x
keys:
  - a
  - b
select: {one: 1,
  two: 2}
query: |

  SELECT a
  FROM b
folded: >
  SELECT a
  FROM b
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 1),
        (("table",), 1),
        (("keys",), 2),
        (("keys", 1), 4),
        (("select", "two"), 6),
        (("select", "three"), 5),
        (("nothing",), 1),
        (("keys", 7), 2),
    ],
)
def test_the_line_of_a_key_or_the_nearest_above(path: tuple[str | int, ...], line: int) -> None:
    assert parse(TEXT).line(*path) == line


def test_the_line_inside_a_text() -> None:
    document = parse(TEXT)
    assert document.line_within(1, "query") == 9
    assert document.line_within(2, "query") == 10
    assert document.line_within(2, "folded") == 11
    assert document.line_within(1, "table") == 1
    assert document.line_within(1, "nothing") == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("'12'", "12"),
        ('"null"', "null"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    assert parse(f"a: {text}").data == {"a": value}


def test_scalars_as_text() -> None:
    assert parse("{a: 007, b: true, c: , d: [1]}", as_text=True).data == {
        "a": "007",
        "b": "true",
        "c": None,
        "d": ["1"],
    }


def test_an_alias_is_what_its_anchor_is() -> None:
    assert parse("a: &x [1]\nb: *x").data == {"a": [1], "b": [1]}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "a: 1\na: 2",
            Fault(2, ("a",), "The key `a` stands here for the second time; it was first set in line 1."),
        ),
        ("a: !x b", Fault(1, ("a",), "The tag `!x` means nothing here.")),
        ("? [a]\n: b", Fault(1, (), "A key has to be a word, not a list or a mapping.")),
        ("a: &x [*x]", Fault(1, ("a", 0), "An alias stands inside its own anchor.")),
    ],
)
def test_faults_are_kept(text: str, fault: Fault) -> None:
    assert parse(text).faults == (fault,)


@pytest.mark.parametrize(
    ("text", "line"),
    [("a: b: c", 1), ("a:\n  - b\n c", 3), ("a: 1\n---\nb: 2", 2), ("a: \x07", 0), ("a: [1", 2)],
)
def test_what_is_not_yaml_says_where(text: str, line: int) -> None:
    with pytest.raises(NotYaml) as raised:
        parse(text)
    assert raised.value.line == line


def test_an_empty_text_has_no_lines() -> None:
    document = parse("# nothing\n")
    assert document.data is None
    assert document.line("a") == 0
