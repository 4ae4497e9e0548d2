"""The evaluator, from a checkpoint and a benchmark to figures; this version holds no code of it."""
