"""Forward passes in float64 and numpy, written from the papers' equations, to hold the models against.

Nothing of `core.models` is used here but the names of the parameters. Sums run over one index at a time where that is
how the paper has it, so that no layout of axes is taken over from the code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Params = Mapping[str, Floats]


def _relu(x: Floats) -> Floats:
    return np.maximum(x, 0)


# He et al. 2016 with the normalisation of Wu and He 2018.


def _conv(x: Floats, kernel: Floats, stride: int) -> Floats:
    """Of a 3×3 kernel with a margin of one zero: out[r, c] = Σ_ij x[s r + i − 1, s c + j − 1] K[i, j]."""
    batch, rows, columns, _ = x.shape
    high, wide = math.ceil(rows / stride), math.ceil(columns / stride)
    out = np.zeros((batch, high, wide, kernel.shape[3]))
    for r in range(high):
        for c in range(wide):
            for i in range(3):
                for j in range(3):
                    row, column = stride * r + i - 1, stride * c + j - 1
                    if 0 <= row < rows and 0 <= column < columns:
                        out[:, r, c] += x[:, row, column] @ kernel[i, j]
    return out


def _group_norm(x: Floats, scale: Floats, bias: Floats, groups: int) -> Floats:
    """y = γ (x − μ) / √(σ² + ε) + β, μ and σ² of an example's group of neighbouring channels over all positions."""
    out = np.empty_like(x)
    size = x.shape[3] // groups
    for example in range(len(x)):
        for group in range(groups):
            channels = slice(group * size, (group + 1) * size)
            values = x[example, :, :, channels]
            out[example, :, :, channels] = (values - values.mean()) / np.sqrt(values.var() + 1e-5)
    return out * scale + bias


def resnet(p: Params, x: Floats, groups: int = 2) -> Floats:
    """Eight layers: y = relu(F(x) + shortcut(x)), F of two 3×3 convolutions; then the mean over all positions.

    Where a stage begins, the first convolution has stride 2, and the shortcut takes every other row and column and has
    zeros for the new channels (option A).
    """
    h = _relu(_group_norm(_conv(x[..., None], p["conv.kernel"], 1), p["norm.scale"], p["norm.bias"], groups))
    for number, stride in enumerate((1, 2, 2)):

        def norm(values: Floats, which: int, at: int = number) -> Floats:
            scale, bias = (p[f"blocks.{at}.norm{which}.{part}"] for part in ("scale", "bias"))
            return _group_norm(values, scale, bias, groups)

        inner = _relu(norm(_conv(h, p[f"blocks.{number}.conv1.kernel"], stride), 1))
        summed = norm(_conv(inner, p[f"blocks.{number}.conv2.kernel"], 1), 2)
        summed[..., : h.shape[3]] += h[:, ::stride, ::stride]
        h = _relu(summed)
    return h.mean(axis=(1, 2)) @ p["out.kernel"] + p["out.bias"]


# Vaswani et al. 2017 in the form of GPT-2 (Radford et al. 2019).


def _layer_norm(x: Floats, p: Params, name: str) -> Floats:
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5) * p[f"{name}.scale"] + p[f"{name}.bias"]


def _gelu(x: Floats) -> Floats:
    """GPT-2's form (Hendrycks and Gimpel 2016): x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))."""
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _attention(x: Floats, p: Params, name: str, heads: int, causal: bool) -> Floats:
    """softmax(Q Kᵀ / √d) V of each head, side by side, and an output layer; causal: from positions up to one's own."""
    length, width = x.shape
    d = width // heads
    projected = x @ p[f"{name}.project.kernel"] + p[f"{name}.project.bias"]
    query, key, value = (projected[:, part * width : (part + 1) * width] for part in range(3))
    mixed = np.zeros((length, width))
    for head in range(heads):
        own = slice(head * d, (head + 1) * d)
        for t in range(length):
            seen = t + 1 if causal else length
            weights = np.exp(key[:seen, own] @ query[t, own] / math.sqrt(d))
            mixed[t, own] = (weights / weights.sum()) @ value[:seen, own]
    return mixed @ p[f"{name}.out.kernel"] + p[f"{name}.out.bias"]


def _stack(x: Floats, p: Params, heads: int, causal: bool) -> Floats:
    """Of one sequence: positions added, x + attention(norm(x)), x + perceptron(norm(x)), a last normalisation."""
    x = x + p["stack.position"]
    layer = "stack.layers.0"
    x = x + _attention(_layer_norm(x, p, f"{layer}.norm1"), p, f"{layer}.attention", heads, causal)
    inner = _gelu(_layer_norm(x, p, f"{layer}.norm2") @ p[f"{layer}.widen.kernel"] + p[f"{layer}.widen.bias"])
    x = x + inner @ p[f"{layer}.narrow.kernel"] + p[f"{layer}.narrow.bias"]
    return _layer_norm(x, p, "stack.norm")


def decoder(p: Params, x: Any, heads: int = 2) -> Floats:
    """Logits at each position, by the embedding's own weights."""
    embedding = p["embed.embedding"]
    return np.stack([_stack(embedding[tokens], p, heads, causal=True) @ embedding.T for tokens in x])


def encoder(p: Params, x: Any, heads: int = 2) -> Floats:
    """An output layer on the mean over all positions."""
    states = np.stack([_stack(p["embed.embedding"][tokens], p, heads, causal=False) for tokens in x])
    return states.mean(axis=1) @ p["out.kernel"] + p["out.bias"]


#: By the models' names, of those sizes that `test_model_zoo.SMALL` has.
FORWARD: Final[Mapping[str, Callable[[Params, Any], Floats]]] = {
    "resnet": resnet,
    "decoder": decoder,
    "encoder": encoder,
}
