"""Printing: results as a person reads them in a terminal."""
