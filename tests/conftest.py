"""Settings for every test."""

import signal

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
