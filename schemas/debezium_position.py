"""Where Debezium's events stand in their source's order: `major`, `minor` and `row` of `_source_position`.

| event                              | major                     | minor      | row              |
|------------------------------------|---------------------------|------------|------------------|
| PostgreSQL: change                 | greater of last commit, LSN | LSN      | 0                |
| PostgreSQL: snapshot               | LSN of the snapshot       | -1         | 0                |
| PostgreSQL: incremental snapshot   | greater of last commit, LSN | LSN, or -1 | -1             |
| MySQL, MariaDB: change             | number of the binlog file | `pos`      | row in the event |
| MySQL, MariaDB: snapshots          | number of the binlog file | `pos`      | -1               |

**PostgreSQL** sends transactions in the order of their commits, and each change with the LSN at which it was written.
A transaction that was long open has low LSNs and is newer all the same. `source.sequence` holds the LSN of the commit
before it, `["24023119","24023128"]`, null in the first transaction after a slot was made. The greater of the two grows
from each event to the next: it is at least the last commit, which all changes of earlier transactions lie before. It
is also the closest that is known, from below, of the commit of the change's own transaction, and that is what a
snapshot has to be held against: at its LSN it contains exactly the transactions that were committed by then. The last
commit alone would lose to the snapshot what the first transaction after it did. One case stays open, since the event
does not tell: a change that was written before the snapshot's LSN, by the first transaction to commit after it.

A snapshot's `sequence` is of no use: its first element is null, or the last commit that was streamed before.

A row of an **incremental** snapshot has no `lsn`, and in `sequence` that of the event that it was sent before. It was
read between the events sent before it and those after it, so it stands at its place among them: it wins over what was
sent before, and loses to a change at the same place. Where the LSN is the last commit's own, all that has this major
comes later, whatever its LSN, so that minor is -1.

**MySQL** writes whole transactions to the binlog as they commit. The binlogs of two servers have no order with each
other, and GTIDs none at all beyond a server.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from schemas import debezium

_BINLOG_NUMBER: Final = f"(?P<number>{debezium.BINLOG_NUMBER.removesuffix('$')})$"
_COMMIT: Final = '^\\["(?P<lsn>[0-9]{1,18})"'
_LSN: Final = ',"(?P<lsn>[0-9]{1,18})"]$'

Places = tuple[pa.Array, pa.Array, pa.Array]


def places(payload: pa.StructArray) -> Places:
    """`major`, `minor` and `row` (BIGINT) of events in Debezium's envelope; what they are of null events is open."""
    columns = dict(zip([field.name for field in payload.type], payload.flatten(), strict=True))
    source = dict(zip(debezium.SOURCE_TYPE.names, columns[debezium.SOURCE].flatten(), strict=True))
    is_read = _equal(columns[debezium.OP], debezium.READ)
    is_binlog = pc.is_in(source["connector"], pa.array(debezium.BINLOG_CONNECTORS))
    if not pc.any(is_binlog).as_py():
        return _in_wal(source, is_read)
    if pc.all(is_binlog).as_py():
        return _in_binlog(source, is_read)
    pairs = zip(_in_binlog(source, is_read), _in_wal(source, is_read), strict=True)
    major, minor, row = (pc.if_else(is_binlog, binlog, wal) for binlog, wal in pairs)
    return major, minor, row


def _in_binlog(source: dict[str, pa.Array], is_read: pa.BooleanArray) -> Places:
    number = pc.struct_field(pc.extract_regex(source["file"], _BINLOG_NUMBER), "number").cast(pa.int64())
    return number, source["pos"], pc.if_else(is_read, -1, pc.fill_null(source["row"], 0))


def _in_wal(source: dict[str, pa.Array], is_read: pa.BooleanArray) -> Places:
    lsn, commit = source["lsn"], _number(source["sequence"], _COMMIT)
    if lsn.null_count:
        lsn = pc.coalesce(lsn, _number(source["sequence"], _LSN))
    newest = pc.max_element_wise(commit, lsn)
    zero = pa.repeat(pa.scalar(0, pa.int64()), len(lsn))
    if not pc.any(is_read).as_py():
        return newest, lsn, zero
    is_incremental = pc.and_(
        is_read, pc.fill_null(pc.equal(source["snapshot"], debezium.INCREMENTAL), fill_value=False)
    )
    is_snapshot = pc.and_not(is_read, is_incremental)
    follows_commit = pc.and_(is_incremental, _equal(commit, lsn))
    return (
        pc.if_else(is_snapshot, lsn, newest),
        pc.if_else(pc.or_(is_snapshot, follows_commit), -1, lsn),
        pc.if_else(is_incremental, -1, zero),
    )


def _number(texts: pa.StringArray, pattern: str) -> pa.Int64Array:
    return pc.struct_field(pc.extract_regex(texts, pattern), "lsn").cast(pa.int64())


def _equal(values: pa.Array, other: pa.Array | str) -> pa.BooleanArray:
    return pc.fill_null(pc.equal(values, other), fill_value=False)
