"""Parts of tables: exact where nothing hinders, and no picture whose rows follow each other is in two of them."""

from hypothesis import given
from hypothesis import strategies as st

from curation.reading.parts import parts_of

CELLS = st.lists(st.sampled_from(["", "a", "./a", "b", "c"]), max_size=40)


def name(cell: str) -> str:
    return cell.removeprefix("./")


@given(CELLS, st.integers(1, 6))
def test_parts_join_to_all_rows_and_part_no_picture(cells: list[str], length: int) -> None:
    parts = parts_of(((10 * row, cell) for row, cell in enumerate(cells)), length, name)
    assert [row for start, stop, _ in parts for row in range(start, stop)] == list(range(len(cells)))
    assert all(offset == 10 * start for start, _, offset in parts)
    assert all(length <= stop - start < 3 * length for start, stop, _ in parts[:-1])
    for start, stop, _ in parts[:-1]:
        before = next((cells[row] for row in reversed(range(start, stop)) if cells[row]), "")
        after = next((row for row in range(stop, len(cells)) if cells[row]), None)
        if after is not None and name(before) == name(cells[after]):
            assert after - start >= 2 * length  # more than what is kept together


@given(st.integers(0, 30), st.integers(1, 6), st.booleans())
def test_rows_of_pictures_of_their_own_are_cut_exactly(total: int, length: int, bad: bool) -> None:
    parts = parts_of(((0, "" if bad else f"{row}") for row in range(total)), length, name)
    assert parts == [(start, min(start + length, total), 0) for start in range(0, total, length)]


def test_a_picture_goes_on_over_a_seam_and_over_a_bad_row_at_it() -> None:
    def stops(cells: str, length: int) -> list[int]:
        return [stop for _, stop, _ in parts_of(((0, cell.strip()) for cell in cells), length, name)]

    assert stops("aabbbc", 3) == [5, 6]
    assert stops("aabb bc", 4) == [6, 7]
    assert stops("aab  cc", 3) == [3, 7]
    assert stops("  aa", 1) == [1, 2, 4]
    assert stops("a" * 10, 2) == [4, 8, 10]
