"""`python -m deploy.jars service embedded`: puts the named sets in place and says where they are."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import cast, get_args

from deploy.jars import JarsError, JarSet, resolve


def main(names: Sequence[str]) -> int:
    """Resolve each named set; exit code 1 if one could not be resolved, 2 for no name at all."""
    if not names:
        sys.stderr.write(f"Usage: python -m deploy.jars {{{','.join(get_args(JarSet))}}} ...\n")
        return 2
    try:
        for name in names:
            sys.stdout.write(f"{name}: {resolve(cast(JarSet, name))}\n")
    except JarsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
