"""`python -m streams` is the `sluice` command."""

from __future__ import annotations

from streams.cli import main

main()
