"""One machine without Docker: what `make up`, `down`, `ps`, `logs` and `restart` do."""
