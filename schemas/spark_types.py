"""Spark's type names read without Spark: `decimal(18,2)`, `array<string>`, `struct<a: int, b: date>`.

PySpark's own reader of them asks a running JVM, which checking a folder of contracts should not need.
"""

from __future__ import annotations

import re

from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    ByteType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    MapType,
    ShortType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
    VariantType,
)

SIMPLE_TYPES: dict[str, DataType] = {
    "boolean": BooleanType(),
    "tinyint": ByteType(),
    "byte": ByteType(),
    "smallint": ShortType(),
    "short": ShortType(),
    "int": IntegerType(),
    "integer": IntegerType(),
    "bigint": LongType(),
    "long": LongType(),
    "float": FloatType(),
    "real": FloatType(),
    "double": DoubleType(),
    "date": DateType(),
    "timestamp": TimestampType(),
    "timestamp_ltz": TimestampType(),
    "timestamp_ntz": TimestampNTZType(),
    "string": StringType(),
    "binary": BinaryType(),
    "variant": VariantType(),
}
"""Types of one word that a Delta table can hold."""

MOST_DIGITS = 38
_TOKEN = re.compile(r"\s*([A-Za-z0-9_]+|`[^`]+`|[<>(),:]|$)")


class NotASparkType(ValueError):
    """A text that names no type of Spark's that a table can hold."""

    def __init__(self, text: str, why: str) -> None:
        self.text, self.why = text, why
        super().__init__(f"`{text}` is not a Spark type{f': {why}' if why else ''}")


def parse_type(text: str) -> DataType:
    """The type that `text` names, upper and lower case being the same; raises NotASparkType."""
    reader = _Reader(text)
    found = reader.type()
    reader.expect("")
    return found


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def peek(self) -> str:
        match = _TOKEN.match(self.text, self.position)
        if match is None:
            raise NotASparkType(self.text, f"`{self.text[self.position :].strip()[:1]}` does not belong there")
        return match[1]

    def take(self) -> str:
        token = self.peek()
        match = _TOKEN.match(self.text, self.position)
        self.position = match.end() if match else len(self.text)
        return token

    def expect(self, token: str) -> None:
        if (found := self.take()) != token:
            wanted = f"`{token}`" if token else "the end"
            raise NotASparkType(
                self.text, f"{wanted} should stand where `{found}` is" if found else f"{wanted} is missing"
            )

    def type(self) -> DataType:
        name = self.take().lower()
        if not name:
            raise NotASparkType(self.text, "a type is missing")
        match name:
            case "decimal" | "dec" | "numeric":
                return self.decimal()
            case "array":
                self.expect("<")
                element = self.type()
                self.expect(">")
                return ArrayType(element)
            case "map":
                self.expect("<")
                key = self.type()
                self.expect(",")
                value = self.type()
                self.expect(">")
                return MapType(key, value)
            case "struct":
                return self.struct()
        if name not in SIMPLE_TYPES:
            raise NotASparkType(self.text, "" if name == self.text.lower() else f"`{name}` is none")
        return SIMPLE_TYPES[name]

    def decimal(self) -> DecimalType:
        if self.peek() != "(":
            return DecimalType()
        self.take()
        precision, scale = self.digits(), 0
        if self.peek() == ",":
            self.take()
            scale = self.digits()
        self.expect(")")
        if not scale <= precision <= MOST_DIGITS or precision == 0:
            raise NotASparkType(
                self.text, f"a decimal has 1 to {MOST_DIGITS} digits, and no more of them after the point"
            )
        return DecimalType(precision, scale)

    def digits(self) -> int:
        token = self.take()
        if not token.isdecimal():
            raise NotASparkType(self.text, f"`{token}` is not a number of digits")
        return int(token)

    def struct(self) -> StructType:
        self.expect("<")
        fields = []
        while True:
            name = self.take().strip("`")
            if self.peek() == ":":
                self.take()
            fields.append(StructField(name, self.type()))
            if self.peek() != ",":
                break
            self.take()
        self.expect(">")
        return StructType(fields)
