"""What a browser makes of a page, and what no page may do."""

from __future__ import annotations

import re
from html.parser import HTMLParser

# Names as people, file systems and attackers give them: a lone surrogate stands for a byte that is no UTF-8.
ATTACK = "</style></script><script>alert(1)</script><img src=x onerror=alert(1)> \"'&amp; </p>{{ 7*7 }}"
SURROGATE = "\udcff"
_ALONE = {"meta", "img", "path", "input"}  # elements without an end
_SAID = {"alt", "title", "class", "aria-label"}  # attributes that are words, and fetch nothing


class ParsedPage(HTMLParser):
    """Elements, attributes and texts of a page; texts also by the class of what holds them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.styles: list[str] = []
        self.by_class: dict[str, list[str]] = {}
        self._open: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag in _ALONE:
            return
        self._open.append((tag, dict(attrs).get("class") or ""))
        if name := self._open[-1][1]:
            self.by_class.setdefault(name, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._open and self._open[-1][0] == "style":
            self.styles.append(data)
        for name in {name for _, name in self._open} - {""}:
            self.by_class[name][-1] += data

    @property
    def text(self) -> str:
        return "".join(self.texts)

    @property
    def sources(self) -> list[str]:
        """Addresses that the page would fetch."""
        return [value for _, name, value in self.attributes if name in ("src", "href")]


def read_page(html: str, pictures: str = "data:") -> ParsedPage:
    """The page, after a look at what no page may do; pictures: where alone its pictures may come from."""
    page = ParsedPage(html)
    policies = [value for tag, name, value in page.attributes if (tag, name) == ("meta", "content")]
    assert policies[0] == (
        f"default-src 'none'; img-src {pictures}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    )
    assert not {tag for tag, _ in page.elements} & {"script", "link", "iframe", "object", "embed", "form", "base", "a"}
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    fetching = [*page.styles, *(value for _, name, value in page.attributes if name not in _SAID)]
    assert not [one for one in fetching if re.search(r"https?:|url\(|@import", one)]
    html.encode("utf-8")
    return page
