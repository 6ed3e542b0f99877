"""Work that is taken from the ledger: its rows, its workers, the hints about it, and what recovers it."""
