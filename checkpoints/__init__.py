"""What has been done: the lake's layout, offsets, generations, the ledger and the positions."""
