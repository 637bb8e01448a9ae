"""The contract's calls, one module per collection."""
