"""Real Kafka, PostgreSQL and Debezium without Docker, for `sluice demo`, `sluice stack` and the tests."""
