"""Figures of a run: each module draws matplotlib figures from a `Study`, without pyplot and its global state."""
