"""BioNewsBot: scheduling and task processing for biotech news analysis."""
