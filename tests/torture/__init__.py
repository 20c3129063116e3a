"""A seeded workload under faults that come at random, round after round, and every table held against the truth."""
