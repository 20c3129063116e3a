"""Holding values to a JSON Schema: null where they keep to it, else what they break, never the payload.

The whole standard is checked by `jsonschema-rs`; details are worked out for what is invalid alone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
from pyspark.sql import Column
from pyspark.sql.functions import arrow_udf  # type: ignore[attr-defined]  # its stub is missing in 4.1
from pyspark.sql.types import ArrayType, StringType, StructField, StructType

from schemas import json_bytes
from schemas.contract import Contract
from schemas.schema_set import BASE, NO_SCHEMAS, SchemaSet
from schemas.unreadable import Unreadable

MAX_VIOLATIONS: Final = 20
"""Violations kept per record; the rest of a thoroughly broken one says nothing more."""

VIOLATION_TYPE: Final = StructType(
    [StructField("rule", StringType()), StructField("pointer", StringType()), StructField("schema_path", StringType())]
)
"""A stable code that names what was broken, the JSON pointer of the value, and the path of the rule in the schema."""

VIOLATIONS_ARROW: Final = pa.list_(
    pa.struct([("rule", pa.string()), ("pointer", pa.string()), ("schema_path", pa.string())])
)

Violation = dict[str, str]


@dataclass(frozen=True)
class Validation:
    """A schema to hold values to; small and picklable, since it travels to the workers.

    `schema` is JSON text that stands at `uri`; it may refer to `references`.
    """

    schema: str
    uri: str = BASE
    references: SchemaSet = NO_SCHEMAS

    @classmethod
    def of(cls, contract: Contract) -> Validation:
        """The validation of a contract."""
        return cls(json.dumps(contract.schema), contract.uri, contract.references)

    @property
    def validator(self) -> Any:
        """The library's validator, built once per process."""
        return self.references.validator(self.schema, self.uri)

    def within(self, schema: dict[str, Any]) -> Validation:
        """Another schema, which may refer to this one by its URI."""
        references = SchemaSet(tuple({**dict(self.references.texts), self.uri: self.schema}.items()))
        return Validation(json.dumps(schema), f"{BASE}within", references)

    def violations(self, value: Any, at: str = "") -> list[Violation] | None:
        """What `value`, which stands at the pointer `at`, breaks; None where it keeps to the schema."""
        if self.validator.is_valid(value):
            return None
        return rejected(*(_violation(error, at) for error in self.validator.iter_errors(value)))

    def common_errors(self, value: Any, other: Any) -> list[Any]:
        """The library's errors of `value` that are those of `other` as well: they do not come of where both differ."""
        left = Counter(_named(error) for error in self.validator.iter_errors(other))
        found = []
        for error in self.validator.iter_errors(value):
            named = _named(error)
            if left[named]:
                left[named] -= 1
                found.append(error)
        return found

    def common_violations(self, value: Any, other: Any, at: str = "") -> list[Violation] | None:
        """What `value` breaks and `other` as well; None where there is nothing."""
        return rejected(*(_violation(error, at) for error in self.common_errors(value, other))) or None

    def column(self, value: Column) -> Column:
        """What each record of a BINARY column of JSON breaks, ARRAY<VIOLATION_TYPE>; null where it is valid."""
        return _arrow_function(self)(value)

    def of_bytes(self, values: pa.Array) -> pa.Array:
        """The same for an Arrow array: one pass over the bytes."""
        inexact = set(json_bytes.maybe_inexact(values))
        found: list[list[Violation] | None] = []
        for index, value in enumerate(values.to_pylist()):
            try:
                read = json_bytes.read_exactly if index in inexact else json_bytes.read
                found.append(None if value is None else self.violations(read(value)))
            except Unreadable as fault:
                found.append(rejected((fault.rule, fault.pointer, "")))
        return pa.array(found, VIOLATIONS_ARROW)


def _violation(error: Any, at: str) -> tuple[str, str, str]:
    return f"schema.{error.kind.name}", at + pointer(error.instance_path), pointer(error.schema_path)


def _named(error: Any) -> tuple[str, ...]:
    return *_violation(error, ""), str(getattr(error.kind, "property", ""))


def rejected(*violations: tuple[str, str, str]) -> list[Violation]:
    """Violations from (rule, pointer, schema path), the first ones where they are many."""
    return [
        {"rule": rule, "pointer": at, "schema_path": schema_path}
        for rule, at, schema_path in violations[:MAX_VIOLATIONS]
    ]


def pointer(path: list[str | int]) -> str:
    """A JSON pointer, RFC 6901."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _arrow_function(validation: Validation) -> Callable[[Column], Column]:
    @arrow_udf(ArrayType(VIOLATION_TYPE))  # type: ignore[untyped-decorator]
    def violations(values: pa.Array) -> pa.Array:
        return validation.of_bytes(values)

    return violations  # type: ignore[no-any-return]
