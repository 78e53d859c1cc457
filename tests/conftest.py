"""Settings for every test."""

import signal
from pathlib import Path

import pytest
from hypothesis import settings

TESTS = Path(__file__).parent
LONG = ("workflow", "test_examples.py", "report/test_browser.py", "test_packaging.py")
"""Folders and files whose tests take long: they start first, so that no worker waits at the end."""

settings.register_profile("rdpipe", deadline=None)  # machines are noisy
settings.load_profile("rdpipe")


def pytest_collection_modifyitems(items):
    """Put the long tests first; files stay together."""
    assert all((TESTS / name).exists() for name in LONG)
    items.sort(key=lambda item: not is_long(item.path))


def is_long(path: Path) -> bool:
    """Return whether a file of tests is among the long ones, or in a folder of them."""
    return any(path.is_relative_to(TESTS / name) for name in LONG)


@pytest.fixture(autouse=True)
def signals_as_before():
    """A training takes SIGTERM for itself."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def small_codecs():
    """The module of the project's example codecs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1] / "examples")
        import small_codecs

    return small_codecs


@pytest.fixture
def pretend_cuda():
    """One CUDA device that does not exist; see ``tests/support/pretended_cuda.py``."""
    from pretended_cuda import pretend_cuda

    with pretend_cuda():
        yield
