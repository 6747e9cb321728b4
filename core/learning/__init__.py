"""Federated algorithms as init/apply values."""

from core.learning.algorithm import Algorithm, fedavg

__all__ = ["Algorithm", "fedavg"]
