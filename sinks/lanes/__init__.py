"""Error lanes: written with a batch, read, judged again, kept for a while; each record once, with its bytes."""
