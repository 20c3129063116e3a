"""Reconciliation: silver tables held against the database that they come from."""
