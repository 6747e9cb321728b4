"""Data sets and how they are dealt to clients."""

from core.data.datasets import Dataset, dataset, datasets, load_npz
from core.data.federation import PARTITIONS, Federation, federation

__all__ = ["PARTITIONS", "Dataset", "Federation", "dataset", "datasets", "federation", "load_npz"]
