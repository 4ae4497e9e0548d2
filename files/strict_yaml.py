"""The one reader of YAML. It takes plain keys, each once, and no tags, and is done at once, whatever it is given.

Aliases make a small text stand for a huge value, so values are counted before any is made, an alias as often as it is
used. Numbers are those of Python (`1e-3` is one), and there are no dates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

MOST_BYTES = 1 << 20
MOST_VALUES = 50_000
DEEPEST = 50
MOST_DIGITS = 64
KeyPath = tuple[str, ...]

_TEXT, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
_NUMBER = re.compile(r"[-+]?(0[bx])?[\da-fA-F_.:]+")
_C_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlFault(ValueError):
    """What is wrong with a text of YAML; line: where, counted from 1, if it is in one place."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.line = reason, line


class Document(NamedTuple):
    """What a text of YAML says; lines: of each key, by the keys above it and its own."""

    values: Any
    lines: dict[KeyPath, int]


def parse_yaml(text: str) -> Document:
    """Read a text. Raises YamlFault for what is no YAML, and for what is more than people write."""
    if len(text) > MOST_BYTES:
        raise YamlFault(f"is larger than the {MOST_BYTES >> 20} MiB that are read")
    try:
        _count(text)
        loader = _Loader(text)
        root = loader.get_single_node()
        _check_keys(root)
        return Document(loader.construct_document(root) if root else None, dict(_lines(root, ())))
    except yaml.MarkedYAMLError as error:
        raise YamlFault(error.problem or error.context or "", _line(error.problem_mark)) from None
    except yaml.YAMLError as error:
        raise YamlFault(f"is no YAML ({' '.join(str(error).split())})") from None
    except UnicodeEncodeError:
        raise YamlFault("is no YAML (it holds letters that are no UTF-8)") from None


def flow_yaml(value: Any) -> str:
    """A value in one line, as `parse_yaml` reads it back: every text in quotes."""
    return (
        str(yaml.dump(value, Dumper=_Quoting, default_flow_style=True, width=float("inf")))
        .removesuffix("...\n")
        .strip()
    )


class _Quoting(yaml.SafeDumper):
    """What is text to us is text to any reader of YAML."""


_Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar(_TEXT, text, style='"'))


class _Loader(_C_LOADER):
    """Safe values of other numbers than YAML's (1:30 is no 90), and without its dates."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":int", ":float", ":timestamp"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_number(self, node: yaml.ScalarNode) -> int:
        """A whole number, in any of YAML's ways to write one."""
        try:
            return int(self.construct_yaml_int(node))
        except ValueError:
            raise YamlFault(f"{node.value!r} is no number", _line(node.start_mark)) from None


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_number)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"[-+]?(0b[01_]+|0[0-7_]*|0x[\da-fA-F_]+|[1-9][\d_]*)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d[\d_]*(\.[\d_]*)?|\.\d[\d_]*)([eE][-+]?\d+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"),
    list("-+.0123456789"),
)


def _count(text: str) -> None:
    """Go once through the text, making nothing, and raise YamlFault for too much of anything."""
    # Of each list or mapping that is open: its anchor, the values before it, and how deep what it holds goes.
    opened: list[tuple[str, int, int]] = []
    known: dict[str, tuple[int, int]] = {}  # of each anchor: its values, and how deep they go
    values = 0
    for event in yaml.parse(text, _Loader):
        line, anchor = _line(event.start_mark), str(getattr(event, "anchor", None) or "")
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == one for one, _, _ in opened):
                raise YamlFault(f"*{anchor} stands for what it is a part of", line)
            size, below = known.get(anchor, (1, 0))
            values += size
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before, below = opened.pop()
            size, below = values - before, below + 1
        elif isinstance(event, yaml.NodeEvent):
            values, size, below = values + 1, 1, 0
            _check_node(event, line)
            if isinstance(event, yaml.CollectionStartEvent):
                opened.append((anchor, values - 1, 0))
                continue
        else:
            continue
        if anchor:
            known[anchor] = size, below
        if opened:
            above, before, deepest = opened[-1]
            opened[-1] = above, before, max(deepest, below)
        if len(opened) + below > DEEPEST:
            raise YamlFault(f"nests deeper than {DEEPEST} levels", line)
        if values > MOST_VALUES:
            raise YamlFault(f"holds more than {MOST_VALUES:,} values, those that aliases repeat among them", line)


def _check_node(event: Any, line: int | None) -> None:
    if event.tag not in (None, "!", _TEXT):
        raise YamlFault(f"the tag {event.tag.replace('tag:yaml.org,2002:', '!!'):.80} is not read", line)
    plain = isinstance(event, yaml.ScalarEvent) and event.implicit[0]
    if plain and len(event.value) > MOST_DIGITS and _NUMBER.fullmatch(event.value):
        raise YamlFault(f"a number of {len(event.value):,} digits is not read; the most are {MOST_DIGITS}", line)


def _check_keys(node: yaml.Node | None) -> None:
    """Raise YamlFault for a key that comes twice (not the last word counts), or is no text."""
    if isinstance(node, yaml.MappingNode):
        seen = set[str]()
        for key, value in node.value:
            if key.tag not in (_TEXT, _MERGE):
                shown = f"the key {key.value!r:.80}" if isinstance(key, yaml.ScalarNode) else "a key"
                raise YamlFault(f"{shown} is no text; put it into quotes if it is meant", _line(key.start_mark))
            if key.value in seen:
                raise YamlFault(f"the key {key.value!r:.80} comes twice", _line(key.start_mark))
            seen.add(key.value)
            _check_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _check_keys(value)


def _lines(node: yaml.Node | None, path: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*path, str(key.value))
            yield below, key.start_mark.line + 1
            yield from _lines(value, below)


def _line(mark: Any) -> int | None:
    return mark.line + 1 if mark else None
