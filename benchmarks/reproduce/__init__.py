"""`make reproduce`: the paper's claim measured end to end, from drawn pictures to a report."""
