"""Results: figures as files, tables, pictures and comparisons."""
