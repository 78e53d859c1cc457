"""The config: what is checked before any job starts, and what rules ask of it.

Nothing heavy is imported: the Snakefile is read again in every job of a cluster.
"""
