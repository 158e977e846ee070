"""Numbers that every contestant makes for itself: the same bits as numbers.ts and operands.ts.

In: a seed and a count. Out: values in [-scale, scale), whole numbers, or which elements of a result are compared.
"""
import numpy as np

SAMPLES = 128


def mix_bits(words):
    """The finisher of MurmurHash3 by Austin Appleby, in the public domain."""
    h = np.asarray(words, dtype=np.uint32)
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return h ^ (h >> np.uint32(16))


def _mix_one(word):
    return int(mix_bits(np.array([word & 0xFFFFFFFF], dtype=np.uint32))[0])


def _hashes(seed, count):
    start = _mix_one(seed + 0x9E3779B9)
    return mix_bits(np.arange(count, dtype=np.uint32) ^ np.uint32(start)) >> np.uint32(8)


def uniform(seed, count, scale=1.0):
    return ((_hashes(seed, count).astype(np.float64) - 2**23) * (scale / 2**23)).astype(np.float32)


def integers(seed, count, below):
    return (_hashes(seed, count) % np.uint32(below)).astype(np.int64)


def seed_of(name):
    seed = 0
    for character in name:
        seed = _mix_one(seed ^ ord(character))
    return seed


def sample_positions(length):
    if length <= SAMPLES:
        return np.arange(length)
    return mix_bits(np.arange(1, SAMPLES + 1, dtype=np.uint32)) % np.uint32(length)


def ragged_offsets(rows, experts):
    weights = [0.5 + (_mix_one(e + 1) >> 8) / 2**24 for e in range(experts)]
    total = sum(weights)
    offsets, reached = [0], 0.0
    for weight in weights:
        reached += weight
        offsets.append(int(np.floor(reached / total * rows + 0.5)))
    return offsets
