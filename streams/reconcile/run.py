"""The tables of a pipeline that say where they come from, one after the other; one that fails stops no other."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from deltalake.exceptions import DeltaError

from checkpoints.lake import Lake
from schemas.errors import SluiceError, WrongUsage
from schemas.pipeline import Pipeline
from schemas.settings import Settings
from schemas.spec import CurrentSpec
from streams.reconcile.report import Reconciliation
from streams.reconcile.table import Limits, Sleep, reconcile
from streams.redaction import describe


def reconciled_tables(pipeline: Pipeline) -> list[str]:
    """The tables whose spec has a `reconcile` block, in the order of the flow."""
    specs = ((name, pipeline.tables[name]) for name in pipeline.order)
    return [name for name, spec in specs if isinstance(spec, CurrentSpec) and spec.reconcile is not None]


def reconcile_tables(
    pipeline: Pipeline, tables: list[str], settings: Settings, limits: Limits, sleep: Sleep
) -> Iterator[Reconciliation]:
    """Reconcile tables; of one that can not be now, say why. Raises WrongUsage where spec or settings are wrong."""
    lake = Lake.at(settings.lake)
    for name in tables:
        try:
            yield reconcile(pipeline, name, settings.sources, lake, limits, sleep)
        except WrongUsage:
            raise
        except SluiceError as error:
            yield _failed(pipeline, name, str(error))
        except (OSError, pa.ArrowException, DeltaError) as error:
            yield _failed(pipeline, name, f"{name} can not be read: {describe(error)}.")


def _failed(pipeline: Pipeline, name: str, problem: str) -> Reconciliation:
    spec = pipeline.tables[name]
    block = spec.reconcile if isinstance(spec, CurrentSpec) else None
    return Reconciliation(name, block.source if block else "", block.table if block else "", problem=problem)
