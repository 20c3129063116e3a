"""Records that do not come from a live topic: history from files, databases and topics, and tables that are pulled.

A row becomes a record, and takes the way that a record of Kafka takes: contract, lanes, counts, ledger, hand-over.
"""
