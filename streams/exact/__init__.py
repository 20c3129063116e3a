"""Spark's SQL for DuckDB, where it is known that both give the same; what is not known to be is left to Spark."""
