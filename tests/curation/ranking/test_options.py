"""Options of a curation that cannot be meant are refused."""

import pytest

from curation.ranking.options import CurateOptions
from files.errors import MisuseError


@pytest.mark.parametrize("field", ["", " ", ".", "a.", ".a", "a..b", "a. .b"])
def test_a_field_without_a_name_is_refused(field: str) -> None:
    with pytest.raises(MisuseError, match=r"--write-caption .*give a field of the \.json member"):
        CurateOptions(write_caption=field)


@pytest.mark.parametrize("field", [None, "caption", "a.b", "with space.b"])
def test_fields_are_taken_as_they_are(field: str | None) -> None:
    assert CurateOptions(write_caption=field).write_caption == field
