"""Errors of the trainer, with the exit code that the command line gives them."""


class TrainingError(Exception):
    """Training could not be done or not be finished; the message names the file, the value, and what to do."""

    exit_code = 1


class MisuseError(TrainingError):
    """The arguments or the recipe are wrong; nothing was begun."""

    exit_code = 2
