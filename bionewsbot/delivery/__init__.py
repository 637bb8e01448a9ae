"""How a worker keeps its messages and gives them back: leases and shutdown."""
