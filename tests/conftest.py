"""Settings for every test."""

from hypothesis import settings

settings.register_profile("rdpipe", deadline=None)  # machines are noisy
settings.load_profile("rdpipe")
