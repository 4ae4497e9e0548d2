"""The page of the gallery: HTML in light, dark and on paper, which needs nothing but the PNGs beside it."""

from html import escape

_STYLE = """
:root {
  color-scheme: light dark;
  --ground: #f5f4f0; --panel: #ffffff; --ink: #1d2129; --quiet: #5c6370; --line: #dedbd3; --shot: #eceae4;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14161a; --panel: #1e2126; --ink: #e8e6e1; --quiet: #9aa1ac; --line: #343941; --shot: #181a1f;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main { max-width: 1320px; margin: 0 auto; padding: 32px 20px 48px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 6px; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 44px 0 12px; }
h3 { font-size: 1rem; margin: 28px 0 10px; }
p { margin: 0 0 10px; }
.lead { max-width: 52em; color: var(--quiet); }
.quiet, figcaption, .key { color: var(--quiet); font-size: 0.85rem; }
.tiles { display: grid; gap: 14px; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); }
.tile, .card {
  background: var(--panel); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; min-width: 0;
}
.tile b { display: block; font-size: 1.6rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tile span { color: var(--quiet); font-size: 0.9rem; }
.cards { display: grid; gap: 16px; grid-template-columns: repeat(auto-fill, minmax(min(560px, 100%), 1fr)); }
.card { display: flex; flex-direction: column; padding: 12px; }
.shots { display: grid; gap: 8px; grid-template-columns: repeat(auto-fit, minmax(110px, 1fr)); }
figure { margin: 0; min-width: 0; }
figure img { display: block; width: 100%; height: auto; border-radius: 5px; background: var(--shot); }
figcaption { text-align: center; font-size: 0.78rem; padding-top: 3px; }
.legend {
  list-style: none; display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 10px 0; padding: 0; font-size: 0.87rem;
}
.legend i {
  display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px; vertical-align: -1px;
  border: 1px solid var(--line);
}
.legend span { color: var(--quiet); font-variant-numeric: tabular-nums; }
.legend .wrong { font-style: italic; color: var(--quiet); }
.key { margin: auto 0 0; overflow-wrap: anywhere; }
.key b { color: var(--ink); font-variant-numeric: tabular-nums; }
@media print {
  :root { --ground: #fff; --panel: #fff; --ink: #000; --quiet: #444; --line: #bbb; --shot: #f2f2f2; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  html, body { font-size: 11px; }
  main { max-width: none; padding: 0; }
  h2, h3 { break-after: avoid; }
  .tile, .card { break-inside: avoid; }
  .cards { grid-template-columns: repeat(2, 1fr); }
}
"""

# Should anything ever slip past the escaping, a browser still runs and fetches nothing.
_POLICY = "default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'"


def page(title: str, body: str) -> str:
    """A whole HTML document; `title` is text, `body` is HTML."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
