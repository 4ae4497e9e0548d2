"""What is left out: keys and reasons can be written to a table, and never hold what they tell of."""

from hypothesis import given
from hypothesis import strategies as st

from files.rejects import MOST_LETTERS, Reject, is_utf8


@given(st.text(st.characters(), max_size=2000) | st.binary(max_size=2000).map(repr))
def test_keys_and_reasons_are_short_and_utf8(text: str) -> None:
    reject = Reject(text, f"broken row: {text}")
    for said, whole in ((reject.key, text), (reject.reason, f"broken row: {text}")):
        assert is_utf8(said)
        assert len(said) <= MOST_LETTERS + 3
        if len(whole) <= MOST_LETTERS and is_utf8(whole):
            assert said == whole
    assert reject.reason.partition(":")[0] == "broken row"
