"""Models: written as flax NNX modules, used as pure functions."""

from core.models.model import Model, cross_entropy, from_nnx
from core.models.zoo import model, models

__all__ = ["Model", "cross_entropy", "from_nnx", "model", "models"]
