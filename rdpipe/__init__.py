"""Where a learned image codec loses its bits, and how far it is from the rate-distortion limit."""

__version__ = "0.1.0"
