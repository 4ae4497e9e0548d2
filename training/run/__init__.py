"""The run: steps, checkpoints, validation and the log, in one folder."""
