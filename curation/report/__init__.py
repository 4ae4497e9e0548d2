"""The report: a curation as a page with pictures, and in the terminal."""
