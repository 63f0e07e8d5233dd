"""From typed columns to what a model reads: statistics and encoding."""
