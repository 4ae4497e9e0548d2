"""What all tests may ask for."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# Property tests: what a machine is busy with fails none of them. `fixed` draws the same examples each time, so that a
# failure is the change's; `search` (`make test-all`) draws new ones and prints how to repeat what it finds.
plain = settings(settings.get_profile("default"), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fixed", plain, derandomize=True, max_examples=100)
settings.register_profile("search", plain, print_blob=True, max_examples=1000)
settings.load_profile("fixed")


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the checkout; tests that need it are skipped without it."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs ../shared, the folder of real data beside the checkout; it is not there")
    return folder
