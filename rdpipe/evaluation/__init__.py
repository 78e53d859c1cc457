"""Evaluation of cells of the array: rates, distortions, levels and real bytes."""

from rdpipe.evaluation.array import evaluate

__all__ = ["evaluate"]
