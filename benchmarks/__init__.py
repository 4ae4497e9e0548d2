"""Commands that measure: each prints ratios against a named peer of the same run, or writes a table of docs/."""
