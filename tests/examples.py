"""How many examples a property test draws, in proportion to the profile (tests/conftest.py)."""

from hypothesis import settings


def examples(count: int) -> settings:
    """Decorates a test that draws so many where others draw a hundred; `make test-all` draws ten times as many."""
    return settings(max_examples=count * settings().max_examples // 100)
