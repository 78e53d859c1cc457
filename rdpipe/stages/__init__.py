"""Stages of the workflow, one module per rule: read, call, write."""
