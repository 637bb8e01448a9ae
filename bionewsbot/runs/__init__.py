"""The ledger of runs: the truth of what should happen; messages are only how it happens."""
