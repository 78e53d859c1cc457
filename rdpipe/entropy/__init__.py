"""Entropy coding: range coding, adaptive models and escapes."""
