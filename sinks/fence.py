"""What keeps a process that has lost the lease from committing: a number in each table's own log.

Whoever takes the lease from a holder that did not let it go raises the fence of every table first, to its own token, by
a commit without rows; a new table has the fence of whoever creates it from its first commit. From then on a commit of
the holder before is refused, however late it comes:

- The driver's commits carry the fence as a transaction identifier. Delta refuses a commit where another one that came
  meanwhile has moved an identifier of the same name; and before each commit the table's snapshot is read, and one in
  which the fence is above the own token is not written to.
- Spark's commits carry one identifier only, and read their snapshot where nobody can look at it. Theirs is the position
  under a name that has the fence in it, `position@fence`. Raising the fence sets the old name to the greatest number
  that there is: a commit under it, if its snapshot is older, is refused, and else passed over as long written.

https://github.com/delta-io/delta/blob/master/PROTOCOL.md#transaction-identifiers
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from deltalake import CommitProperties, DeltaTable, Transaction

from checkpoints import positions
from checkpoints.errors import LeaseLost
from checkpoints.lake import Lake

APP: Final = "sluice/fence"
_CLOSED: Final = 2**63 - 1


def height(handle: DeltaTable) -> int:
    """The token to which a table's fence was last raised; 0 where it never was."""
    return positions.position(handle, APP) or 0


def check(handle: DeltaTable, lake: Lake) -> None:
    """See that this process may commit on top of a snapshot; raises LeaseLost. Without a lease it always may."""
    if lake.token is not None and height(handle) > lake.token:
        raise LeaseLost(lake.root, lake.token)


def properties(handle: DeltaTable, lake: Lake, moves: Mapping[str, int], metadata: str | None) -> CommitProperties:
    """What a commit of the driver carries: the positions that it moves, the ledger's entry, and the fence."""
    check(handle, lake)
    fenced = {} if lake.token is None else {APP: height(handle)}
    return CommitProperties(
        custom_metadata=None if metadata is None else {"userMetadata": metadata},
        app_transactions=[Transaction(app, version) for app, version in {**moves, **fenced}.items()],
    )


def created(lake: Lake) -> CommitProperties | None:
    """What the commit that creates a table carries: a holder before this one finds the fence above itself."""
    return None if lake.token is None else CommitProperties(app_transactions=[Transaction(APP, lake.token)])


def sparks_name(handle: DeltaTable, app: str) -> str:
    """The name of a position in a commit of Spark's."""
    return f"{app}@{height(handle)}"


def position(handle: DeltaTable, app: str) -> int | None:
    """A position, whichever engine has moved it last; None where it has not begun."""
    found = [positions.position(handle, name) for name in (app, sparks_name(handle, app))]
    return max((one for one in found if one is not None), default=None)


def raise_to(handle: DeltaTable, token: int, apps: Iterable[str], metadata: str | None) -> bool:
    """Raise the fence of a table, taking the positions of these names along; whether it was lower."""
    if height(handle) >= token:
        return False
    moves = {APP: token}
    for app in apps:
        if (at := position(handle, app)) is not None:
            moves[app] = at
        moves[sparks_name(handle, app)] = _CLOSED
    carried = CommitProperties(
        custom_metadata=None if metadata is None else {"userMetadata": metadata},
        app_transactions=[Transaction(app, version) for app, version in moves.items()],
    )
    handle.create_write_transaction([], "append", handle.schema(), commit_properties=carried)
    return True
