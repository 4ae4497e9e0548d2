"""Text from strangers on a terminal: captions and names must not move the cursor, ring, recolour or turn a line."""

# Marks of direction, and separators that end a line where nothing says so: invisible, and never needed to read a text.
DIRECTION = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
SEPARATORS = (0x2028, 0x2029)
# C0 controls as their visible pictures; C1 controls, marks and halves of a sign as the replacement sign.
_IN_LINES = (
    {code: 0x2400 + code for code in range(0x20) if code not in (0x09, 0x0A)}
    | {0x7F: 0x2421}
    | dict.fromkeys((*range(0x80, 0xA0), *DIRECTION, *range(0xD800, 0xE000)), 0xFFFD)
    | dict.fromkeys(SEPARATORS, 0x20)
)
_IN_A_LINE = _IN_LINES | dict.fromkeys((0x09, 0x0A, 0x0D), 0x20)

# Paths in messages that stand for what a person knows by another name: files/remote_folders.py.
CALLED: dict[str, str] = {}


def printable(text: str) -> str:
    """`text` on one line and safe to print: line breaks and tabs as spaces, control characters as signs."""
    return text.translate(_IN_A_LINE)


def printable_lines(text: str) -> str:
    """`text` safe to print in its own lines, its tabs kept."""
    return called(text).translate(_IN_LINES)


def called(text: str) -> str:
    """`text` with the names that a person knows things by."""
    for path, name in CALLED.items():
        text = text.replace(path, name)
    return text
