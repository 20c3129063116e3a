"""Avro: bytes, forms and schemas, and how a record is brought to its contract."""
