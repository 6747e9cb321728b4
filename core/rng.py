"""Counter-based random streams: every draw is a pure function of (seed, actor, purpose, counter).

The path is hashed with BLAKE2b into the key of a Philox generator (Salmon et al., "Parallel random numbers: as
easy as 1, 2, 3", SC 2011). There is no hidden state, so draws do not depend on the order in which actors run.

`words` draws for a million devices at once, where a generator each would cost seconds: word n of a stream is that of
SplitMix64 (Steele et al., "Fast splittable pseudorandom number generators", OOPSLA 2014), a function of key and counter
alone. `word` gives the same bits for one device.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numpy.random.bit_generator import ISeedSequence

Words = npt.NDArray[np.uint64]
_GOLDEN: Final = 0x9E3779B97F4A7C15
_FIRST: Final = 0xBF58476D1CE4E5B9
_SECOND: Final = 0x94D049BB133111EB
_MASK: Final = (1 << 64) - 1


def _digest(seed: int, path: tuple[str | int, ...], size: int) -> bytes:
    text = str(int(seed))
    for part in path:
        # The type goes into the hash, so that the counter 1 and the purpose "1" are different streams.
        text += f"\x00i{part}" if isinstance(part, int) else f"\x00s{part}"
    if text.count("\x00") != len(path):
        raise ValueError(f"{path!r} has a NUL character in it, which keeps the parts of a path apart")
    return hashlib.blake2b(text.encode(), digest_size=size).digest()


class _Key(ISeedSequence):
    """A digest as the key of a Philox, as it is: given as `key`, numpy also draws a seed from the system, for 8 µs."""

    def __init__(self, digest: bytes) -> None:
        self._digest = digest

    def generate_state(self, n_words: int, dtype: npt.DTypeLike = np.uint32) -> npt.NDArray[Any]:
        return np.frombuffer(self._digest, dtype, n_words)


def generator(seed: int, *path: str | int) -> np.random.Generator:
    """A numpy generator that depends on `seed` and `path` alone (actor, purpose, counter by convention)."""
    # numpy takes any seed sequence; its annotations say only its own.
    return np.random.Generator(np.random.Philox(_Key(_digest(seed, path, 16))))  # type: ignore[arg-type]


class FirstNormals:
    """The first standard normal number of the generator of each path, without making as many generators."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._bits = np.random.Philox(key=0)
        #: That of a generator which has drawn nothing.
        self._state: Any = self._bits.state
        self._draw = np.random.Generator(self._bits).standard_normal

    def __call__(self, *path: str | int) -> float:
        """That of `generator(seed, *path)`."""
        self._state["state"]["key"] = np.frombuffer(_digest(self._seed, path, 16), "<u8")
        self._bits.state = self._state
        return float(self._draw())


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
    return generator(seed, "secret", *path).bytes(size)


def stream_key(seed: int, *path: str | int) -> int:
    """The key of a family of streams, 64 bits, that depends on `seed` and `path` alone."""
    return int.from_bytes(_digest(seed, path, 8), "little")


def mix(value: int) -> int:
    """SplitMix64's finalizer: a bijection of 64-bit words in which every bit of the result hangs on all."""
    value = ((value ^ (value >> 30)) * _FIRST) & _MASK
    value = ((value ^ (value >> 27)) * _SECOND) & _MASK
    return value ^ (value >> 31)


def member_key(key: int, index: int) -> int:
    """The key of one member of a family."""
    return mix(key ^ mix((index + _GOLDEN) & _MASK))


def word(key: int, counter: int) -> int:
    """Word `counter` of a stream, 64 bits."""
    return mix((key + (counter + 1) * _GOLDEN) & _MASK)


def mixed(values: Words) -> Words:
    """`mix` of many words."""
    first: Words = (values ^ (values >> np.uint64(30))) * np.uint64(_FIRST)
    second: Words = (first ^ (first >> np.uint64(27))) * np.uint64(_SECOND)
    return second ^ (second >> np.uint64(31))


def member_keys(key: int, indices: npt.NDArray[np.int64]) -> Words:
    """`member_key` of many members."""
    return mixed(np.uint64(key) ^ mixed(indices.astype(np.uint64) + np.uint64(_GOLDEN)))


def words(keys: Words, counters: npt.NDArray[np.integer] | int) -> Words:
    """Word `counters` of each stream."""
    steps: Words = np.atleast_1d(np.asarray(counters)).astype(np.uint64) + np.uint64(1)
    moved: Words = keys + steps * np.uint64(_GOLDEN)
    return mixed(moved)


def unit(value: int) -> float:
    """A word as a number from 0 up to, but below 1."""
    return (value >> 11) * 2.0**-53


def units(values: Words) -> npt.NDArray[np.float64]:
    """`unit` of many words."""
    return (values >> np.uint64(11)).astype(np.float64) * 2.0**-53
