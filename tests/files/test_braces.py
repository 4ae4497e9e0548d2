"""Braces: counted before they are expanded, as braceexpand expands them."""

import re
import time

import pytest
from braceexpand import UnbalancedBracesError, braceexpand
from hypothesis import assume, given
from hypothesis import strategies as st

from files import braces
from files.braces import braced, expand_braces
from files.errors import MisuseError

PARTS = st.recursive(
    st.sampled_from(
        ["a", "", "../b", "\\{", "\\,", "0..12", "{0..5}", "{07..-3..2}", "{a..f}", "{C..d..2}", "0..x", ","]
    ),
    lambda part: (
        st.lists(part, max_size=3).map("".join) | st.lists(part, max_size=3).map(lambda p: "{" + ",".join(p) + "}")
    ),
    max_leaves=8,
)


@given(PARTS)
def test_no_fewer_are_counted_than_there_are(name: str) -> None:
    counted = braces._count(name)
    assume(counted < 5000)
    there = list(braceexpand(name))
    assert expand_braces(name) == there
    assert counted >= len(there)
    if not re.search(r"[a-zA-Z]\.\.|\.\.[a-zA-Z]", name):
        assert counted == len(there)


@pytest.mark.parametrize(
    "name",
    [
        *("{a,b}" * 30, "{0..9}" * 7, "{1..1000001}", "x{{a,b}{0..999999},c}", "{{0..999},{0..999}}{0..999}"),
        *("{0..5" + "0" * 5000 + "}", "{a..b..9" + "9" * 5000 + "}", "{0..999999}" + "x" * 2000),
    ],
)
def test_too_many_are_refused_at_once(name: str) -> None:
    began = time.process_time()
    with pytest.raises(MisuseError, match="stands for more than 1,000,000 shards; give fewer"):
        expand_braces(name)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    ("name", "said"),
    [("{1{2,3}", "unbalanced"), ("a}", "unbalanced"), ("{" * 5000 + "}" * 5000, "more than 50")],
)
def test_braces_that_do_not_pair_or_nest_deep(name: str, said: str) -> None:
    with pytest.raises(MisuseError, match=said):
        expand_braces(name)
    if len(name) < 100:
        with pytest.raises(UnbalancedBracesError):
            list(braceexpand(name))


@pytest.mark.parametrize(
    ("names", "one"),
    [
        (["a"], "a"),
        (["t-008", "t-009", "t-010"], "t-{008..010}"),
        (["00000", "00001"], "{00000..00001}"),
        (["a-1", "a-3"], "{a-1,a-3}"),
        (["a", "a-00"], "{a,a-00}"),
    ],
)
def test_names_become_one(names: list[str], one: str) -> None:
    assert braced(names) == one
    assert expand_braces(one) == names
