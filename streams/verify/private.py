"""Which columns of a table's key a person may not see: those made from fields that a contract tags as personal."""

from __future__ import annotations

from schemas.pipeline import Pipeline
from schemas.spec import BronzeSpec, CurrentSpec, DerivedSpec, HistorySpec, Scd2Spec
from streams.reconcile.columns import private_columns


def private_key(pipeline: Pipeline, table: str) -> frozenset[str]:
    """The columns of the key that are masked; where it can not be told what a column is made from, it is."""
    match pipeline.tables[table]:
        case CurrentSpec() | HistorySpec() as spec:
            return private_columns(pipeline, spec).intersection(spec.keys)
        case Scd2Spec() as spec:
            return private_key(pipeline, spec.from_).intersection(spec.keys)
        case DerivedSpec() as spec:
            return frozenset(name for name in spec.grain if _is_private(pipeline, spec, name))
        case BronzeSpec():
            return frozenset()


def _is_private(pipeline: Pipeline, spec: DerivedSpec, column: str) -> bool:
    """Whether a column of the grain may be personal: by `affected_by`, which says what it is the same as upstream."""
    same = [
        theirs in _private(pipeline, above)
        for above in spec.upstreams
        for theirs, ours in spec.affected_columns(above).items()
        if ours == column
    ]
    return any(same) if same else any(_private(pipeline, above) for above in spec.upstreams)


def _private(pipeline: Pipeline, table: str) -> frozenset[str]:
    """All columns of a table that may be personal, as far as they can be keys below it."""
    match pipeline.tables[table]:
        case CurrentSpec() | HistorySpec() as spec:
            return private_columns(pipeline, spec)
        case Scd2Spec() as spec:
            return _private(pipeline, spec.from_)
        case DerivedSpec() as spec:
            return frozenset().union(*(_private(pipeline, above) for above in spec.upstreams)) | {
                name for name in spec.grain if _is_private(pipeline, spec, name)
            }
        case BronzeSpec():
            return frozenset()
