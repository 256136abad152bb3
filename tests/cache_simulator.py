"""A fully associative memory of single elements, driven by the accesses of tiled loops: what really moves.

Nothing is shared with the code under test: the loops are written out, every access is looked up.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterator

Access = tuple[str, int, bool]  # operand, element, whether it is written


def lru(trace: list[Access], capacity: int) -> int:
    """Elements that move when the least recently used goes first; a first write fetches nothing."""
    held: OrderedDict[tuple[str, int], bool] = OrderedDict()
    seen: set[tuple[str, int]] = set()
    moved = 0
    for operand, element, writes in trace:
        key = (operand, element)
        if key in held:
            held[key] = held.pop(key) or writes
            continue
        if not writes or key in seen:
            moved += 1
        seen.add(key)
        if len(held) == capacity:
            moved += held.popitem(last=False)[1]
        held[key] = writes
    return moved + sum(held.values())


def belady(trace: list[Access], capacity: int) -> int:
    """The same, when what is needed last goes first: no order of evictions does better on reads."""
    never = len(trace)
    following = [never] * len(trace)
    last: dict[tuple[str, int], int] = {}
    for i in range(len(trace) - 1, -1, -1):
        key = trace[i][:2]
        following[i] = last.get(key, never)
        last[key] = i
    held: dict[tuple[str, int], tuple[int, bool]] = {}
    latest: list[tuple[int, tuple[str, int]]] = []
    seen: set[tuple[str, int]] = set()
    moved = 0
    for i, (operand, element, writes) in enumerate(trace):
        key = (operand, element)
        if key in held:
            held[key] = (following[i], held[key][1] or writes)
        else:
            if not writes or key in seen:
                moved += 1
            seen.add(key)
            while len(held) >= capacity:
                when, oldest = heapq.heappop(latest)
                if oldest in held and held[oldest][0] == -when:
                    moved += held.pop(oldest)[1]
            held[key] = (following[i], writes)
        heapq.heappush(latest, (-following[i], key))
    return moved + sum(dirty for _, dirty in held.values())


def product(m: int, n: int, k: int, tile_m: int, tile_n: int) -> list[Access]:
    """C[m, n] += A[m, k] B[k, n], a tile of the result at a time."""
    out: list[Access] = []
    for i0 in range(0, m, tile_m):
        for j0 in range(0, n, tile_n):
            for p in range(k):
                for i in range(i0, min(m, i0 + tile_m)):
                    for j in range(j0, min(n, j0 + tile_n)):
                        out += [("a", i * k + p, False), ("b", p * n + j, False), ("c", i * n + j, True)]
    return out


def convolution(size: int, channels: int, filters: int, kernel: int, tile: int, tile_filters: int) -> list[Access]:
    """A square image of `size`, stride 1, no padding: a square tile of places and some filters at a time."""
    out: list[Access] = []
    places = size - kernel + 1
    for y0 in range(0, places, tile):
        for x0 in range(0, places, tile):
            for f0 in range(0, filters, tile_filters):
                for c in range(channels):
                    for dy in range(kernel):
                        for dx in range(kernel):
                            for y in range(y0, min(places, y0 + tile)):
                                for x in range(x0, min(places, x0 + tile)):
                                    for f in range(f0, min(filters, f0 + tile_filters)):
                                        out += [
                                            ("x", (c * size + y + dy) * size + x + dx, False),
                                            ("w", ((f * channels + c) * kernel + dy) * kernel + dx, False),
                                            ("y", (f * places + y) * places + x, True),
                                        ]
    return out


def attention(queries: int, keys: int, size: int, tile: int) -> list[Access]:
    """One head, keys and values streamed past a tile of queries; running maxima and sums are in registers."""
    out: list[Access] = []
    for i0 in range(0, queries, tile):
        for j in range(keys):
            for i in range(i0, min(queries, i0 + tile)):
                out += [("q", i * size + d, False) for d in range(size)]
                out += [("k", j * size + d, False) for d in range(size)]
                out += [("v", j * size + d, False) for d in range(size)]
                out += [("o", i * size + d, True) for d in range(size)]
    return out


def best(traces: Iterator[list[Access]], capacity: int, policy: Callable[[list[Access], int], int]) -> int:
    """The least that any of the tilings moves."""
    return min(policy(trace, capacity) for trace in traces)
