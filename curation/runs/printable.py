"""Text from strangers on a terminal: captions must not move the cursor, ring or recolour it."""

# C0 controls as their visible pictures, C1 controls and direction marks as the replacement sign.
_VISIBLE = (
    {code: 0x2400 + code for code in range(0x20)}
    | dict.fromkeys((0x09, 0x0A, 0x0D), 0x20)
    | {0x7F: 0x2421}
    | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
    | dict.fromkeys((0x2028, 0x2029), 0x20)
    | dict.fromkeys((0x061C, 0x200E, 0x200F), 0xFFFD)
    | dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD)
)


def printable(text: str) -> str:
    """`text` on one line and safe to print: line breaks as spaces, control characters as signs."""
    return text.translate(_VISIBLE)
