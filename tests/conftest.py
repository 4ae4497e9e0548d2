"""What all tests may ask for."""

from multiprocessing import active_children
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.integration.processes import Children

ROOT = Path(__file__).resolve().parent.parent

# Property tests: what a machine is busy with fails none of them. `fixed` draws the same examples each time, so that a
# failure is the change's; `search` (`make test-all`) draws new ones and prints how to repeat what it finds.
plain = settings(settings.get_profile("default"), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fixed", plain, derandomize=True, max_examples=100)
settings.register_profile("search", plain, print_blob=True, max_examples=1000)
settings.load_profile("fixed")


@pytest.fixture
def children() -> Children:
    """Gives the living processes that the test has begun, but for those of tests before, which may take long to end."""
    before = {process.pid for process in active_children()}
    return lambda: [process for process in active_children() if process.pid not in before]


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
