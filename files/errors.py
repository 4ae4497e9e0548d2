"""The errors a person can act on: their text is the whole message, and they carry an exit code.

    CocuError           the work cannot go on                     exit code 1
      MisuseError       it cannot be done as it was asked for     exit code 2

The command line prints such an error as one message without a traceback. Whatever else escapes is a bug.
"""

from __future__ import annotations

from typing import ClassVar

MOST_LETTERS, MOST_LINES = 2_000, 60


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


def one_line(error: object, most: int = 300) -> str:
    """What a library says of an error, as a part of a message: on one line, and cut where it is long."""
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= most else f"{said[:most]}..."


def shortened(message: str) -> str:
    """A message of a size that a person reads, whatever names and values it tells of: cut where lines are long."""
    lines = [
        line if len(line) <= MOST_LETTERS else f"{line[: MOST_LETTERS // 2]} ... {line[-MOST_LETTERS // 2 :]}"
        for line in message.split("\n", MOST_LINES)[:MOST_LINES]
    ]
    left = message.count("\n") + 1 - len(lines)
    return "\n".join([*lines, *([f"... and {left:,} lines more"] if left else [])])


def check_numbers(low: float, high: float | None = None, **options: float | None) -> None:
    """Raises MisuseError for a number of these options that is not from `low` to `high`; None is none."""
    for name, value in options.items():
        if value is not None and not (low <= value and (high is None or value <= high)):
            wanted = f"from {low:g}" + (f" to {high:g}" if high is not None else "")
            raise MisuseError(f"--{name.replace('_', '-')} {value}: give a number {wanted}")
