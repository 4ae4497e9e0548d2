"""Names that become names of files, wherever they come from: an address, a card, a manifest that a stranger wrote."""

from __future__ import annotations

import re
from hashlib import blake2b

# A file name holds 255 bytes, and outputs add endings.
MOST_NAME_BYTES = 150
# Slashes, control characters, line breaks and marks of direction.
_NEVER = re.compile(r"[/\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def plain_name(name: str) -> str:
    """The name, which then leads nowhere but to one file of its folder.

    Raises ValueError for one that is empty, hidden ("..", ".x"), too long, or holds a slash or a control character.
    """
    if not isinstance(name, str) or not name or name.startswith("."):
        raise ValueError(f"{name!r:.40} cannot name a file; give a name that does not begin with a dot")
    if found := _NEVER.search(name):
        raise ValueError(f"{name!r:.80} cannot name a file; give a name without {found[0]!r}")
    if len(name.encode("utf-8", "replace")) > MOST_NAME_BYTES:
        raise ValueError(f"{name!r:.40}... cannot name a file; give a name of at most {MOST_NAME_BYTES} bytes")
    return name


def made_plain(name: str) -> str:
    """A plain name for any: the same where it is one, and does not begin with "@" as the steps of a run do."""
    if not name or name.startswith((".", "@")):
        name = f"_{name}"
    plain = _NEVER.sub("_", name)
    if plain != name or len(name.encode("utf-8", "replace")) > MOST_NAME_BYTES:
        tail = plain.encode()[-MOST_NAME_BYTES + 20 :].decode(errors="ignore")
        plain = f"{blake2b(name.encode('utf-8', 'replace'), digest_size=8).hexdigest()}-{tail}"
    return plain
