"""The weekly report: gathered company by company, assembled by stated rules, shown in formats."""
