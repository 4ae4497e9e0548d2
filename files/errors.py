"""The errors a person can act on: their text is the whole message, and they carry an exit code.

    CocuError           the work cannot go on                     exit code 1
      MisuseError       it cannot be done as it was asked for     exit code 2

The command line prints such an error as one message without a traceback. Whatever else escapes is a bug.
"""

from __future__ import annotations

from typing import ClassVar


class CocuError(Exception):
    """The work cannot go on, for a reason outside the program: data, disk, weights, network, a process that died.

    The text says what is wrong, where (the file, shard or key), and what can be done about it.
    """

    exit_code: ClassVar[int] = 1


class MisuseError(CocuError):
    """What was asked for cannot be done as asked: an argument, a recipe, a card, other parameters on old output.

    The text names the argument and the value given, and what would be accepted.
    """

    exit_code: ClassVar[int] = 2
