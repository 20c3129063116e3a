"""Rebuilding tables from bronze beside the live ones: to compare the two, or to have them as of an earlier time."""
