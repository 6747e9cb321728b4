"""Aggregation of updates, streaming and exact."""

from core.aggregation.linear import MAX_WEIGHT, Aggregation, exact_mean

__all__ = ["MAX_WEIGHT", "Aggregation", "exact_mean"]
