"""What changes the past or the way on: planned, agreed to, carried out by whoever holds the lease, and written down."""
