"""A report as a list of blocks, which become Markdown or one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.results.text import markdown_table
from files.page import page

_TEMPLATE = Path(__file__).parent / "templates" / "report.html.j2"


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the title."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Table:
    """Plain cells; the first `left` columns hold words, the others numbers. marked: rows that stand out."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    marked: Sequence[int] = ()


@dataclass(frozen=True)
class Picture:
    """A PNG beside the report."""

    path: Path
    says: str

    @property
    def png(self) -> bytes:
        """The picture itself. Raises OSError."""
        return self.path.read_bytes()


@dataclass(frozen=True)
class Code:
    """Lines as they are, under a summary that opens them."""

    summary: str
    lines: Sequence[str]


Block = Heading | Paragraph | Table | Picture | Code


def markdown(blocks: Sequence[Block], folder: Path) -> str:
    """The blocks as Markdown that lies in `folder`."""
    parts = []
    for block in blocks:
        match block:
            case Heading(text, level):
                parts.append(f"{'#' * level} {text}")
            case Paragraph(text):
                parts.append(text)
            case Table(head, rows, left, marked):
                strong = [
                    [f"**{cell}**" if cell else "" for cell in r] if i in marked else r for i, r in enumerate(rows)
                ]
                parts.append("\n".join(markdown_table(head, strong, range(left, len(head)))))
            case Picture(path, says):
                parts.append(f"![{says}]({path.relative_to(folder).as_posix()})")
            case Code(summary, lines):
                parts.append("\n".join([f"{summary}:", "", "```", *lines, "```"]))
    return "\n\n".join(parts) + "\n"


def html(blocks: Sequence[Block]) -> str:
    """The blocks as a page; pictures are inside it."""
    title = next((block.text for block in blocks if isinstance(block, Heading)), "")
    return page(_TEMPLATE, title=title, blocks=[(type(block).__name__, block) for block in blocks])
