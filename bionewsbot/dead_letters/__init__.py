"""Dead letters: what was given up on, whole and with its cause; listing, replay, purge."""
