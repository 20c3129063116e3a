"""The gate before gold: silver's suites judged over what changed, their results kept, gold held where they fail."""
