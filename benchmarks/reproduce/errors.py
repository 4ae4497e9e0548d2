"""Errors of `make reproduce`, with the exit code that the command gives them."""


class ReproduceError(Exception):
    """A step failed, or what a step wrote cannot be read; the message names the file and what to do."""

    exit_code = 1


class MisuseError(ReproduceError):
    """What was asked for does not fit the arguments, or the folder; nothing was begun."""

    exit_code = 2
