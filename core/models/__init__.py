"""Models: written as flax NNX modules, used as pure functions."""

from core.models.catalogue import example, model, models
from core.models.model import Model, from_nnx
from core.models.task import CLASSIFICATION, NEXT_TOKEN, REGRESSION, TASKS, Task, cross_entropy

__all__ = [
    "CLASSIFICATION",
    "NEXT_TOKEN",
    "REGRESSION",
    "TASKS",
    "Model",
    "Task",
    "cross_entropy",
    "example",
    "from_nnx",
    "model",
    "models",
]
