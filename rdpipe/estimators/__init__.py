"""Estimators of the mean and of the variance of latents: two axes of the array."""
