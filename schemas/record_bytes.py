"""A topic's bytes to records: JSON or Avro, whichever way the producer wrapped them."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Protocol

import pyarrow as pa

from schemas import debezium, json_bytes
from schemas.avro import wire as avro
from schemas.avro.resolve import Resolver
from schemas.contract import Contract
from schemas.schema_set import SchemaSet
from schemas.spec import BronzeSpec
from schemas.unreadable import Unreadable

PENDING: Final = "avro.schema_pending"
"""In place of a record whose writer schema has still to be fetched; its pointer is the schema's id."""

NO_RECORD: Final = object()
"""Stands for a record without a value: a tombstone."""


class Reader(Protocol):
    """Reads the values of a topic; small and picklable, since it travels to the workers."""

    def read_all(self, values: pa.Array) -> tuple[list[Any], list[int]]:
        """A record for each value (BINARY): what was read, NO_RECORD, or an Unreadable; and those with a `Decimal`."""


@dataclass(frozen=True)
class JsonReader:
    """JSON; a Kafka Connect envelope of `schema` and `payload` is taken off."""

    def read_all(self, values: pa.Array) -> tuple[list[Any], list[int]]:
        """See Reader."""
        with_decimals = json_bytes.maybe_inexact(values)
        exactly = set(with_decimals)
        raw = values.to_pylist()
        if exactly:
            return [_read(value, exact=row in exactly) for row, value in enumerate(raw)], with_decimals
        return [_read(value) for value in raw], with_decimals


def _read(value: bytes | None, *, exact: bool = False) -> Any:
    if value is None:
        return NO_RECORD
    try:
        record = json_bytes.read_exactly(value) if exact else json_bytes.read(value)
    except Unreadable as unreadable:
        return unreadable
    if type(record) is dict and len(record) == 2 and "schema" in record and "payload" in record:
        payload = record["payload"]
        if payload is None:
            return NO_RECORD
        return payload if isinstance(payload, dict) else Unreadable("json.object", "/payload")
    return record


@dataclass(frozen=True)
class AvroReader:
    """Avro, each record read with its own writer schema and brought to the contract, which is the reader's.

    `plain` is the one writer schema of a topic without Confluent's wire format; `known` are the schemas by id, None
    for an id that the registry does not have. The contract is of the row, or of the whole record.
    """

    contract: str
    uri: str
    references: SchemaSet
    resolves: Literal["record", "images"]
    plain: str | None = None
    known: tuple[tuple[int, str | None], ...] = ()

    @classmethod
    def of(cls, spec: BronzeSpec, contract: Contract, writer_schema: str | None) -> AvroReader:
        """The reader of a topic; `writer_schema` where it is plain Avro."""
        is_row = spec.source.is_debezium and spec.contract_describes == "row"
        text = json.dumps(contract.schema)
        return cls(text, contract.uri, contract.references, "images" if is_row else "record", writer_schema)

    def knowing(self, schemas: Mapping[int, str | None]) -> AvroReader:
        """The same with more schemas."""
        return replace(self, known=tuple(sorted({**dict(self.known), **schemas}.items())))

    def without_unknown(self) -> AvroReader:
        """The same without the ids that the registry did not have: it may have them by now."""
        return replace(self, known=tuple(one for one in self.known if one[1] is not None))

    def read_all(self, values: pa.Array) -> tuple[list[Any], list[int]]:
        """See Reader; Avro's decimals come as text, so that there are no `Decimal`s."""
        schemas = dict(self.known)
        resolve = _resolver(self.contract, self.uri, self.references)
        return [self._read(value, schemas, resolve) for value in values.to_pylist()], []

    def _read(self, value: bytes | None, schemas: Mapping[int, str | None], resolve: Resolver) -> Any:
        if value is None:
            return NO_RECORD
        try:
            if self.plain is not None:
                record = avro.read(self.plain, value)
            else:
                number = avro.schema_id(value)
                if number not in schemas:
                    return Unreadable(PENDING, str(number))
                record = avro.read_confluent(value, schemas)
        except Unreadable as unreadable:
            return unreadable
        return self._resolved(record, resolve)

    def resolved(self, records: Iterable[Any]) -> list[Any]:
        """Records that are read already, brought to the contract as if they had come as Avro; others are left."""
        resolve = _resolver(self.contract, self.uri, self.references)
        return [self._resolved(record, resolve) if isinstance(record, dict) else record for record in records]

    def _resolved(self, record: Any, resolve: Resolver) -> Any:
        if self.resolves == "record" or not isinstance(record, dict):
            return resolve(record)
        for side in (debezium.BEFORE, debezium.AFTER):
            if (image := record.get(side)) is not None:
                record[side] = resolve(image)
        return record


def ids_of(pointers: Iterable[str]) -> set[int]:
    """The schema ids that PENDING records name."""
    return {int(pointer) for pointer in pointers}


def reader_for(spec: BronzeSpec, contract: Contract, writer_schema: str | None) -> Reader:
    """How the values of a topic are read."""
    return AvroReader.of(spec, contract, writer_schema) if spec.source.is_avro else JsonReader()


@functools.lru_cache(maxsize=64)
def _resolver(contract: str, uri: str, references: SchemaSet) -> Resolver:
    schema = json.loads(contract)
    everything = SchemaSet.of({**references.schemas(), uri: schema})
    return Resolver.of(schema, everything.resolver(uri))
