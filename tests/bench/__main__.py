"""`python -m tests.bench` lists the benchmarks, `python -m tests.bench <name> [options]` runs one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from deploy import DeployError
from schemas.errors import SluiceError
from tests.bench import contract, decode_routes

BENCHMARKS: dict[str, Callable[[Sequence[str]], int]] = {"contract": contract.main, "decode": decode_routes.main}


def main(arguments: Sequence[str]) -> int:
    """Run what is named first; without a name, list what there is."""
    if not arguments or arguments[0] not in BENCHMARKS:
        for name, run in BENCHMARKS.items():
            about = (sys.modules[run.__module__].__doc__ or "").strip().splitlines()[0]
            print(f"{name:14} {about}")
        print('\nmake bench ARGS="<name> [options]" runs one; with --help it tells its options.')
        return 2 if arguments else 0
    try:
        return BENCHMARKS[arguments[0]](arguments[1:])
    except (SluiceError, DeployError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
