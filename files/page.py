"""The page that reports share: one HTML file that needs nothing else, in light, dark and on paper."""

from html import escape

_STYLE = """
:root {
  color-scheme: light dark;
  --ground: #f5f4f0; --card: #ffffff; --ink: #1d2129; --quiet: #5c6370; --line: #dedbd3;
  --recovered: #0f766e; --named: #a9aeb6; --mark: #fde9ae; --shot: #eceae4;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14161a; --card: #1e2126; --ink: #e8e6e1; --quiet: #9aa1ac; --line: #343941;
    --recovered: #35b3a6; --named: #636a75; --mark: #5a4a12; --shot: #181a1f;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main { max-width: 1240px; margin: 0 auto; padding: 32px 20px 48px; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 1.2rem; margin: 40px 0 12px; }
h3 { font-size: 0.95rem; margin: 0 0 8px; }
p { margin: 0 0 10px; }
.lead { max-width: 46em; font-size: 1.02rem; }
.quiet, .key, .more, figcaption { color: var(--quiet); font-size: 0.85rem; }
.grid-of { display: grid; gap: 16px; }
.tiles { grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); margin-top: 20px; }
.charts { grid-template-columns: repeat(auto-fit, minmax(min(300px, 100%), 1fr)); }
.cards { grid-template-columns: repeat(auto-fill, minmax(min(280px, 100%), 1fr)); }
.tile, .panel, .card {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px;
  min-width: 0;
}
.tile b { display: block; font-size: 1.75rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tile span { color: var(--quiet); font-size: 0.9rem; }
.bars { list-style: none; margin: 0; padding: 0; }
.bars li {
  display: grid; grid-template-columns: minmax(0, 8.5em) 1fr auto; gap: 8px; align-items: center;
  font-size: 0.87rem; line-height: 1.55;
}
.label { overflow-wrap: anywhere; line-height: 1.3; padding: 1.5px 0; }
.track { height: 9px; border-radius: 5px; background: var(--shot); overflow: hidden; }
.track i { display: block; height: 100%; background: var(--recovered); }
.value { font-variant-numeric: tabular-nums; color: var(--quiet); text-align: right; min-width: 2.4em; }
li.named .track i, li.reject .track i { background: var(--named); }
li.named .label { color: var(--quiet); }
li.recovered .label { font-weight: 600; }
mark { background: var(--mark); color: inherit; border-radius: 3px; padding: 0 2px; }
.card { display: flex; flex-direction: column; padding: 0 0 10px; overflow: hidden; }
.card > p, .card > ol { margin-left: 14px; margin-right: 14px; }
.shot { background: var(--shot); height: 230px; display: flex; margin-bottom: 10px; }
.shot img { width: 100%; height: 100%; object-fit: contain; }
.none { margin: auto; color: var(--quiet); font-size: 0.87rem; }
.caption { max-height: 9em; overflow: auto; overflow-wrap: anywhere; }
.more { margin: 6px 0 0; overflow-wrap: anywhere; }
.key { margin: auto 0 0; padding-top: 10px; overflow-wrap: anywhere; font-size: 0.78rem; }
.legend { display: flex; flex-wrap: wrap; gap: 6px 22px; margin: 0 0 16px; font-size: 0.9rem; }
.swatch { display: inline-block; width: 26px; height: 9px; border-radius: 5px; margin-right: 7px; }
.swatch.recovered { background: var(--recovered); }
.swatch.named { background: var(--named); }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--quiet); font-size: 11px; }
svg .grid { stroke: var(--line); fill: none; }
svg .recovered { fill: var(--recovered); }
svg .named { stroke: var(--quiet); stroke-width: 1.6; fill: none; }
figure { margin: 0; }
details { margin-top: 40px; }
summary { cursor: pointer; color: var(--quiet); }
dl { display: grid; grid-template-columns: auto 1fr; gap: 2px 16px; font-size: 0.87rem; }
dt { color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; }
@media print {
  :root {
    --ground: #fff; --card: #fff; --ink: #000; --quiet: #444; --line: #bbb;
    --recovered: #0f766e; --named: #a9aeb6; --mark: #fde9ae; --shot: #f2f2f2;
  }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  html, body { font-size: 11px; }
  main { max-width: none; padding: 0; }
  h2, .legend { break-after: avoid; }
  .charts { grid-template-columns: repeat(3, 1fr); }
  .tile, .panel, .card, .legend { break-inside: avoid; }
  .cards { grid-template-columns: repeat(3, 1fr); }
  .caption { max-height: none; }
  .shot { height: 150px; }
}
"""

# Should anything ever slip past the escaping, a browser still runs and fetches nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, body: str) -> str:
    """A whole HTML document; `title` is text, `body` is HTML."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
