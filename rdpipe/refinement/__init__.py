"""Refinement of the latents of single images for an unchanged decoder: the amortization gap."""
