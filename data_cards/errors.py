"""The errors a person can act on: their text is the whole message, and they carry an exit code.

The command line prints such an error as one line without a traceback and ends with `exit_code`.
"""

from typing import ClassVar


class DataError(Exception):
    """The work cannot go on, for a reason outside the program: a broken file, a process that died.

    The text says what is wrong, where, and what can be done about it.
    """

    exit_code: ClassVar[int] = 1


class MisuseError(DataError):
    """What was asked for cannot be done as asked: an argument, a card, or other parameters on old output.

    The text names the argument or key and the value given, and what would be accepted.
    """

    exit_code: ClassVar[int] = 2
