"""Settings for every test."""

import signal
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("rdpipe", deadline=None)  # machines are noisy
settings.load_profile("rdpipe")


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
