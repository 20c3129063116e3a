"""The only code that writes tables and error lanes."""
