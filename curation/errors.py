"""The errors a person can act on: their text is the whole message, and they carry an exit code.

The command line prints such an error as one line without a traceback and ends with `exit_code`.
Whatever else escapes from this package is a bug of it.
"""

from typing import ClassVar


class CurationError(Exception):
    """The work cannot go on, for a reason outside the program: data, disk, weights, network.

    The text says what is wrong, where (the file, shard or key), and what can be done about it.
    """

    exit_code: ClassVar[int] = 1


class MisuseError(CurationError):
    """What was asked for cannot be done as asked: an argument, or other parameters on old output.

    The text names the argument and the value given, and what would be accepted.
    """

    exit_code: ClassVar[int] = 2
