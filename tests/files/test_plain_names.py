"""Names of files: what is refused, and what is made of any."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from files.plain_names import MOST_NAME_BYTES, made_plain, plain_name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", ".hidden", "a/b", "/etc/passwd", "../../up"),
        *(
            "a\nb",
            "a\0b",
            "\x1b[31mred",
            "\u202etar",
            "\ud800",
            "x" * (MOST_NAME_BYTES + 1),
            "\u00e9" * MOST_NAME_BYTES,
        ),
    ],
)
def test_names_that_lead_elsewhere_or_cannot_be_shown(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a file; give a name") as raised:
        plain_name(name)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 300
    assert plain_name(made_plain(name))


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=200), unique=True))
def test_any_name_becomes_a_plain_one(names: list[str]) -> None:
    made = [made_plain(name) for name in names]
    assert [plain_name(name) for name in made] == made
    for name, one in zip(names, made, strict=True):
        if not name.startswith("@"):
            try:
                assert plain_name(name) == one
            except ValueError:
                assert one != name
