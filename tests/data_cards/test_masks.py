"""Label mappings: every value of a mask to the class that the card says, and no other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_cards.masks import LARGEST, UNCLAIMED, LabelMapping, Masks


@st.composite
def mappings(draw: st.DrawFn) -> tuple[Masks, list[tuple[int, ...]], list[int], int]:
    """A kind of masks, the values of each class, the ignored values, and the ignore index."""
    form = draw(st.sampled_from(["index", "red_green", "colours"]))
    largest = 0xFFFFFF if form == "colours" else LARGEST
    values = draw(st.lists(st.integers(0, largest), min_size=2, max_size=40, unique=True))
    classes = draw(st.integers(1, len(values)))
    cuts = sorted(draw(st.lists(st.integers(1, len(values)), min_size=classes, max_size=classes)))
    groups = [tuple(values[first:last]) for first, last in zip([0, *cuts], cuts, strict=False)]
    groups = [group for group in groups if group]
    ignored = values[cuts[-1] :]
    index = draw(st.integers(len(groups), LARGEST))
    write = (lambda value: f"#{value:06x}") if form == "colours" else (lambda value: value)
    given_values = [[write(value) for value in group] for group in groups]
    masks = Masks.model_validate({"path": "x", "form": form, "values": given_values, "ignored": ignored}, strict=False)
    return masks, groups, ignored, index


@given(mappings(), st.lists(st.integers(0, 0xFFFFFF), max_size=20))
def test_values_become_the_classes_they_are_listed_for(
    made: tuple[Masks, list[tuple[int, ...]], list[int], int], others: list[int]
) -> None:
    masks, groups, ignored, ignore_index = made
    mapping = LabelMapping.of(masks, [str(index) for index in range(len(groups))], ignore_index)
    expected = {value: index for index, group in enumerate(groups) for value in group}
    expected |= dict.fromkeys(ignored, ignore_index)
    if masks.form != "colours":
        others = [value % (LARGEST + 2) for value in others]
    values = np.array([*expected, *others])
    truth = [expected.get(value, UNCLAIMED) for value in values.tolist()]
    np.testing.assert_array_equal(mapping.to_classes(values), truth)


@given(st.integers(1, 300), st.booleans(), st.data())
def test_what_is_written_by_the_card_is_read_back(classes: int, shifted: bool, data: st.DataObject) -> None:
    content = {"path": "x", "values": [f"1-{classes}"], "ignored": [0]} if shifted else {"path": "x"}
    mapping = LabelMapping.of(Masks.model_validate(content, strict=False), list(map(str, range(classes))), 1000)
    indices = np.array(data.draw(st.lists(st.integers(0, classes - 1) | st.just(1000), max_size=30)), int)
    value_of = {index: value for value, index in mapping.classes.items()}
    assert len(value_of) == len(mapping.classes) == classes + 1
    written = np.array([value_of[index] for index in indices.tolist()], int)
    assert written.tolist() == [(0 if index == 1000 else index + 1) if shifted else index for index in indices.tolist()]
    np.testing.assert_array_equal(mapping.to_classes(written), indices)


@given(st.integers(0, 200), st.integers(0, 50), st.integers(0, 200))
def test_a_range_is_every_number_of_it(first: int, more: int, single: int) -> None:
    masks = Masks.model_validate({"path": "x", "values": [f"{first}-{first + more}", [single]]}, strict=False)
    assert masks.values == (*((value,) for value in range(first, first + more + 1)), (single,))


@pytest.mark.parametrize("wrong", ["x", "1-", "3-2", "#12", "#1234567", -1, 1.5, True, None, "0-70000"])
def test_what_is_no_value_is_refused(wrong: object) -> None:
    for content in ({"values": [wrong]}, {"ignored": [wrong]}):
        with pytest.raises(ValueError, match="give a number from 0, a range such as"):
            Masks.model_validate({"path": "x"} | content, strict=False)


def test_without_an_ignore_index_nothing_is_ignored() -> None:
    mapping = LabelMapping.of(Masks(path="x"), ["a", "b"], None)
    assert mapping.classes == {0: 0, 1: 1}
    assert LabelMapping.of(Masks(path="x"), ["a", "b"], 255).classes == {0: 0, 1: 1, 255: 255}
