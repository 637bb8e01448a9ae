"""From the timetable to runs: RedBeat keeps the schedule, the ledger its occurrences."""
