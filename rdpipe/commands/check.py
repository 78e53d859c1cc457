"""Check whether a codec fulfills the protocol, and say what to change."""

from rdpipe.stages.check_codec import run

__all__ = ["run"]
