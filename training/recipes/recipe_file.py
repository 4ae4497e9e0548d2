"""Reading a recipe: YAML, overridden by key=value, checked; what is wrong is named with its place and a way out."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from files.errors import MisuseError
from files.strict_yaml import KeyPath
from training.models.learner import LEARNERS
from training.recipes.recipe import Recipe, recipe_kind
from training.recipes.recipe_text import ARGUMENT, nearest, read_yaml, written

FORMAT = 1  # of a checkpoint's config.yaml
SHOWN_FAULTS = 20


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """The built-in recipe of this name, or the one in this YAML file, with `overrides` such as "optimizer.clip=1".

    Raises MisuseError: no such recipe; YAML that cannot be read; a key that is unknown or a value of a wrong type, with
    the file and line or the argument, and the nearest right key.
    """
    return check(*written(name, overrides), name)


def config_text(recipe: Recipe) -> str:
    """A recipe as the YAML of a checkpoint, every key written out."""
    return yaml.safe_dump({"format": FORMAT, **recipe.model_dump(mode="json")}, sort_keys=False, allow_unicode=True)


def read_config(path: Path) -> Recipe:
    """The recipe that `config_text` wrote. Raises MisuseError where another version of cocu wrote it otherwise."""
    values, places = read_yaml(path)
    if values.pop("format", None) != FORMAT:
        raise MisuseError(f"{path}: is not of format {FORMAT}, which this version of cocu reads")
    return check(values, places, str(path))


def check(values: Mapping[str, Any], places: Mapping[KeyPath, str], name: str) -> Recipe:
    """`values` as a recipe. places: where the value under a path of keys was written, for messages."""
    learner = values.get("learner")
    if not isinstance(learner, str) or learner not in LEARNERS:
        where = places.get(("learner",), name)
        raise MisuseError(
            f"{where}: learner: {_shown(learner)} is none of {', '.join(LEARNERS)}{nearest(learner, LEARNERS)}"
        )
    kind = recipe_kind(learner)
    try:
        # Through JSON: there a list is good for a tuple, and nothing else is taken for what it is not.
        return kind.model_validate_json(json.dumps(values, default=str), strict=True)
    except MisuseError as error:  # a model's sizes that do not go together
        raise MisuseError(f"{_blamed(('model',), str(error), places, name)}: {error}") from None
    except ValidationError as error:
        found = error.errors(include_url=False)
        faults = [_fault(fault, kind, places, name) for fault in found[:SHOWN_FAULTS]]
        if _given(chosen := places.get(("learner",))) and not all(_given(line) for line in faults):
            faults.append(f"{chosen}: the recipe is of another learner; begin with one that is of this")
        if len(found) > SHOWN_FAULTS:
            faults.append(f"... and {len(found) - SHOWN_FAULTS:,} more")
        raise MisuseError("\n".join(faults)) from None


def _given(place: str | None) -> bool:
    return place is not None and place.startswith(ARGUMENT)


def _blamed(section: KeyPath, said: str, places: Mapping[KeyPath, str], name: str) -> str:
    """Where a fault of a whole section was written: the arguments that its text names, else all of the section's."""
    inside = {path: place for path, place in places.items() if path[: len(section)] == section and _given(place)}
    words = set(re.findall(r"[\w.-]+", said))
    named = [place for path, place in inside.items() if {path[-1], place[:-1].partition("=")[2]} & words]
    return ", ".join(named or inside.values()) or places.get(section, name)


def _fault(fault: Any, kind: type[Recipe], places: Mapping[KeyPath, str], name: str) -> str:
    """One of pydantic's errors as a line for a person."""
    path = tuple(str(part) for part in fault["loc"])
    known = {".".join(key): key for key in _keys(kind)}
    # The value itself, else what it is part of (an element of a list), else a part of it.
    at = next((path[:n] for n in range(len(path), 0, -1) if path[:n] in places), None)
    at = at or next((place for place in places if path and place[: len(path)] == path), ())
    said = str(fault["msg"]).removeprefix("Value error, ")
    where = _blamed(path, said, places, name) if fault["type"] == "value_error" else places.get(at, name)
    dotted = ".".join(path)
    if fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{where}: unknown key {dotted}{_nearest_key(path, known)}"
    if fault["type"] in ("missing", "missing_argument"):
        return f"{where}: the key {dotted} is missing"
    if fault["type"] == "value_error":
        return f"{where}: {dotted + ': ' if dotted else ''}{said}"
    choices = fault.get("ctx", {}).get("expected", "")
    near = nearest(fault["input"], re.findall(r"'([^']*)'", choices)) if fault["type"] == "literal_error" else ""
    return f"{where}: {dotted}: {_shown(fault['input'])}: {said[0].lower()}{said[1:]}{near}"


def _keys(kind: Any, above: KeyPath = ()) -> Iterator[KeyPath]:
    """All paths of keys that a recipe of this kind knows."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = {name: field.annotation for name, field in kind.model_fields.items()}
    elif dataclasses.is_dataclass(kind):
        from typing import get_type_hints

        hints = get_type_hints(kind)
        fields = {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    else:
        return
    for name, annotation in fields.items():
        yield (*above, name)
        yield from _keys(annotation, (*above, name))


def _nearest_key(path: KeyPath, known: dict[str, KeyPath]) -> str:
    """The known key that is most like `path`: a sibling, else the same name elsewhere, else any like it."""
    siblings = {key[-1]: dotted for dotted, key in known.items() if key[:-1] == path[:-1]}
    elsewhere = {key[-1]: dotted for dotted, key in reversed(known.items())}
    for names in (siblings, elsewhere):
        if close := difflib.get_close_matches(path[-1], names, 1, 0.7):
            return f"; did you mean {names[close[0]]}?"
    if close := difflib.get_close_matches(".".join(path), known, 1, 0.5):
        return f"; did you mean {close[0]}?"
    return f"; there are {', '.join(siblings)}" if siblings else ""


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
