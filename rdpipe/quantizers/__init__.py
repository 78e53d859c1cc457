"""Quantizers: the third axis of the array."""
