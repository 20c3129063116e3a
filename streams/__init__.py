"""The flow in the order it runs, from sources to gold, and the service around it."""
