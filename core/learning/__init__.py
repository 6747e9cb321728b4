"""Federated algorithms as init/apply values."""

from core.learning.algorithm import Algorithm
from core.learning.averaging import fedavg
from core.learning.registry import ALGORITHMS, catalogue

__all__ = ["ALGORITHMS", "Algorithm", "catalogue", "fedavg"]
