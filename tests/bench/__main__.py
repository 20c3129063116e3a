"""`python -m tests.bench` lists the benchmarks, `python -m tests.bench <name> [options]` runs one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType

from deploy import DeployError
from schemas.errors import SluiceError
from tests.bench import backfill, contract, decode_routes, freshness, merge, refresh, rules, w2, w3, w4

BENCHMARKS: dict[str, ModuleType] = {
    "contract": contract,
    "decode": decode_routes,
    "w2": w2,
    "w3": w3,
    "w4": w4,
    "merge": merge,
    "refresh": refresh,
    "rules": rules,
    "freshness": freshness,
    "backfill": backfill,
}


def main(arguments: Sequence[str]) -> int:
    """Run what is named first; without a name, list what there is."""
    if not arguments or arguments[0] not in BENCHMARKS:
        for name, module in BENCHMARKS.items():
            print(f"{name:10} {(module.__doc__ or '').strip().splitlines()[0]}")
        print('\nmake bench ARGS="<name> [options]" runs one; with --help it tells its options.')
        return 2 if arguments else 0
    try:
        return int(BENCHMARKS[arguments[0]].main(arguments[1:]))
    except (SluiceError, DeployError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
