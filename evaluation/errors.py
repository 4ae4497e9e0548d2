"""Errors of the evaluator, with the exit code that the command line gives them."""


class EvaluationError(Exception):
    """The evaluation could not be done; the message names the file, the value, and what to do."""

    exit_code = 1


class MisuseError(EvaluationError):
    """The arguments are wrong; nothing was begun."""

    exit_code = 2
