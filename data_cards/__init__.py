"""Cards of data sets: Markdown files whose YAML front matter the code reads."""
