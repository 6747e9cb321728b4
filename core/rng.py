"""Counter-based random streams: every draw is a pure function of (seed, actor, purpose, counter).

The path is hashed with BLAKE2b into the key of a Philox generator (Salmon et al., "Parallel random numbers: as
easy as 1, 2, 3", SC 2011). There is no hidden state, so draws do not depend on the order in which actors run.
"""

from __future__ import annotations

import hashlib

import numpy as np


def _digest(seed: int, path: tuple[str | int, ...], size: int) -> bytes:
    h = hashlib.blake2b(digest_size=size)
    h.update(str(int(seed)).encode())
    for part in path:
        # The type goes into the hash, so that the counter 1 and the purpose "1" are different streams.
        h.update(b"\x00i" if isinstance(part, int) else b"\x00s")
        h.update(str(part).encode())
    return h.digest()


def generator(seed: int, *path: str | int) -> np.random.Generator:
    """A numpy generator that depends on `seed` and `path` alone (actor, purpose, counter by convention)."""
    return np.random.Generator(np.random.Philox(key=int.from_bytes(_digest(seed, path, 16), "little")))


def key_words(seed: int, *path: str | int) -> tuple[int, int]:
    """Two 32-bit words for a JAX threefry key that depends on `seed` and `path` alone."""
    raw = _digest(seed, path, 8)
    return int.from_bytes(raw[:4], "little"), int.from_bytes(raw[4:], "little")


def uniform(seed: int, *path: str | int) -> float:
    """One number from 0 up to, but below 1 that depends on `seed` and `path` alone: 53 bits of the path's digest.

    For single draws; to make a generator for one cost seven times as much when measured.
    """
    return (int.from_bytes(_digest(seed, path, 8), "little") >> 11) * 2.0**-53


def secret_bytes(seed: int, size: int, *path: str | int) -> bytes:
    """`size` reproducible bytes for the simulator's `ctx.secret`; the real world asks the operating system."""
    return np.random.Generator(
        np.random.Philox(key=int.from_bytes(_digest(seed, ("secret", *path), 16), "little"))
    ).bytes(size)
