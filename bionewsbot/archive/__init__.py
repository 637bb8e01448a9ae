"""Cold storage: old records as compressed JSON Lines, checked before anything is deleted."""
