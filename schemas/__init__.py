"""What data must look like: contracts, table specs, settings, and their compilation to Spark expressions."""
