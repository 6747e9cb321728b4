"""Aggregation of updates, streaming and exact."""

from core.aggregation.linear import Aggregation, exact_mean

__all__ = ["Aggregation", "exact_mean"]
