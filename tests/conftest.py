"""Settings for every test."""

import os
import signal
from pathlib import Path
from unittest import mock

import pytest
import torch
from hypothesis import settings

TESTS = Path(__file__).parent
LONG = (
    "workflow/test_slurm.py",
    "workflow/test_retuned.py",
    "workflow/test_faults.py",
    "workflow",
    "test_examples.py",
    "report/test_browser.py",
    "test_packaging.py",
    "training",
    "codecs/test_portable_bytes.py",
)
"""Folders and files whose tests take long, the longest first: no worker waits at the end."""

settings.register_profile("rdpipe", deadline=None)  # machines are noisy
settings.load_profile("rdpipe")


def pytest_collection_modifyitems(items):
    """Put the long tests first; files stay together."""
    assert all((TESTS / name).exists() for name in LONG)
    items.sort(key=lambda item: rank(item.path))


def rank(path: Path) -> int:
    """Return the place of a file of tests, or of its folder, among the long ones."""
    matches = (n for n, name in enumerate(LONG) if path.is_relative_to(TESTS / name))
    return next(matches, len(LONG))


@pytest.fixture(autouse=True)
def signals_as_before():
    """A training takes SIGTERM for itself."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(autouse=True)
def threads_as_before():
    """A stage sets the number of threads for the whole process, and in its environment."""
    threads = torch.get_num_threads()
    with mock.patch.dict(os.environ):
        yield
    torch.set_num_threads(threads)


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
