"""The config: its validation, and what the rules derive from it.

Nothing heavy is imported, because every job of a cluster reads the Snakefile again.
"""
