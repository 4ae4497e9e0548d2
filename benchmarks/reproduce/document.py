"""A report as a list of blocks, which become Markdown or one HTML page that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from evaluation.results.text import markdown_table


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
    body = "\n".join(_html(block) for block in blocks)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _html(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{escape(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"
        case Table():
            return _html_table(block)
        case Picture(path, says):
            data = base64.b64encode(path.read_bytes()).decode("ascii")
            return f'<figure><img src="data:image/png;base64,{data}" alt="{escape(says)}"></figure>'
        case Code(summary, lines):
            text = escape("\n".join(lines))
            return f"<details><summary>{escape(summary)}</summary><pre>{text}</pre></details>"


def _html_table(table: Table) -> str:
    def row(cells: Sequence[str], tag: str, marked: bool = False) -> str:
        kinds = [' class="n"' if place >= table.left else "" for place in range(len(cells))]
        inner = "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for cell, kind in zip(cells, kinds, strict=True))
        return f'<tr class="marked">{inner}</tr>' if marked else f"<tr>{inner}</tr>"

    rows = "\n".join(row(cells, "td", place in table.marked) for place, cells in enumerate(table.rows))
    return f'<div class="wide"><table>\n<thead>{row(table.head, "th")}</thead>\n<tbody>{rows}</tbody>\n</table></div>'


# Should anything ever slip past the escaping, a browser still runs and fetches nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_STYLE = """
:root {
  color-scheme: light dark;
  --ground: #f5f4f0; --card: #ffffff; --ink: #1d2129; --quiet: #5c6370; --line: #dedbd3; --marked: #e3f1ef;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14161a; --card: #1e2126; --ink: #e8e6e1; --quiet: #9aa1ac; --line: #343941; --marked: #17312f;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main { max-width: 1240px; margin: 0 auto; padding: 32px 20px 48px; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 10px; }
h2 { font-size: 1.25rem; margin: 40px 0 10px; }
h3 { font-size: 1rem; margin: 24px 0 8px; }
p { margin: 0 0 12px; max-width: 60em; overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: 12px 0 18px; }
table { border-collapse: collapse; background: var(--card); border: 1px solid var(--line); font-size: 0.9rem; }
th, td { padding: 5px 12px; text-align: left; border-bottom: 1px solid var(--line); }
th { color: var(--quiet); font-weight: 600; }
td:first-child { white-space: nowrap; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.marked td { background: var(--marked); font-weight: 600; }
figure { margin: 12px 0 18px; }
figure img { display: block; max-width: 100%; height: auto; border: 1px solid var(--line); background: #fff; }
summary { cursor: pointer; color: var(--quiet); }
pre { overflow-x: auto; background: var(--card); border: 1px solid var(--line); padding: 12px; font-size: 0.8rem; }
@media print {
  :root { --ground: #fff; --card: #fff; --ink: #000; --quiet: #444; --line: #bbb; --marked: #eef6f5; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  html, body { font-size: 11px; }
  main { max-width: none; padding: 0; }
  h2, h3 { break-after: avoid; }
  tr, figure { break-inside: avoid; }
}
"""
