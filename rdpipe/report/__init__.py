"""Figures and the page that a run ends in."""
