"""Curves, BD-rates, rates of cells and the decomposition, from measured tables and arrays."""
