"""Benchmarks: each figure is a ratio to a reference that is measured in the same run.

See ``python -m benchmarks --help`` and ``docs/howto/performance.md``.
"""
