"""The audit: ledger, bronze tables and error lanes held against each other."""
