"""Data sets and how they are dealt to clients."""

from core.data.dataset import Dataset
from core.data.datasets import dataset, datasets
from core.data.federation import PARTITIONS, Federation, federation
from core.data.heterogeneity import chance_distance, heterogeneity, label_distance
from core.data.reading import read
from core.data.sampled import Sampled, sampled

__all__ = [
    "PARTITIONS",
    "Dataset",
    "Federation",
    "Sampled",
    "chance_distance",
    "dataset",
    "datasets",
    "federation",
    "heterogeneity",
    "label_distance",
    "read",
    "sampled",
]
