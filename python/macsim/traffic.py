# Traffic: the face of the bytes that a report moves, at four levels.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Bytes that move: unfused, fused, behind a memory of some capacity, and at least."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from macsim import _core
from macsim.errors import RequestError
from macsim.rows import Number, Trust, objects

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import RenderableType

    from macsim.groups import Key
    from macsim.report import Report

__all__ = ["Kernel", "Traffic"]

Level: TypeAlias = Literal["unfused", "fused", "minimum", "cached"]
LEVELS = ("unfused", "fused", "minimum", "cached")
MOVED = ("read", "weights", "cache", "written")


class Kernel:
    """Rows that run as one: what they pass on to each other moves nowhere.

    Examples
    --------
    >>> import macsim
    >>> fused = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224)).traffic("fused")
    >>> fused.kernels[0].ops, fused.kernels[0].written  # 1 * 64 * 112 * 112 elements of 4 bytes
    (['Conv', 'BatchNormalization', 'Relu'], 3211264)
    """

    __slots__ = ("_number", "_traffic", "rows")

    def __init__(self, traffic: Traffic, number: int, rows: list[int]) -> None:
        self._traffic = traffic
        self._number = number
        self.rows = rows  #: numbers of its rows in the report

    def _sum(self, column: NDArray[Any]) -> Number:
        total: Number = 0
        for row in self.rows:
            total = total + _plain(column[row])
        return total

    @property
    def name(self) -> str:
        """The path of its first row that has MACs, else of its first row."""
        report = self._traffic.report
        macs = report.columns["mac"]
        head = next((row for row in self.rows if not _is_zero(macs[row])), self.rows[0])
        return report.rows[head].path

    @property
    def ops(self) -> list[str]:
        """The operators of its rows."""
        return [self._traffic.report.rows[row].op for row in self.rows]

    @property
    def macs(self) -> Number:
        """Multiply-accumulates."""
        return self._sum(self._traffic.report.columns["mac"])

    @property
    def flops(self) -> Number:
        """Floating-point operations."""
        return self._sum(self._traffic.report.columns["flops"])

    @property
    def read(self) -> Number:
        """Bytes of activations read."""
        return self._sum(self._traffic.columns["read"])

    @property
    def weights(self) -> Number:
        """Bytes of weights read."""
        return self._sum(self._traffic.columns["weights"])

    @property
    def cache(self) -> Number:
        """Bytes read of the keys and values of earlier tokens."""
        return self._sum(self._traffic.columns["cache"])

    @property
    def written(self) -> Number:
        """Bytes written."""
        return self._sum(self._traffic.columns["written"])

    @property
    def bytes(self) -> Number:
        """All of them."""
        return self.read + self.weights + self.cache + self.written

    @property
    def intensity(self) -> float | None:
        """Floating-point operations for each byte; None when sizes are free or nothing moves."""
        return _ratio(self.flops, self.bytes)

    @property
    def io_bound(self) -> Number:
        """Of ``cached``: what no order of its loops can go below when nothing is there before; 0 when not known."""
        return self._traffic.io_bounds[self._number] if self._traffic.level == "cached" else 0

    def __repr__(self) -> str:
        return f"<Kernel {self.name!r}: {', '.join(self.ops)}; {self.bytes} bytes>"


class Kernels(Sequence[Kernel]):
    """The kernels of a level, in an order in which they can run."""

    def __init__(self, traffic: Traffic, kernel: NDArray[Any], count: int) -> None:
        self._traffic = traffic
        self._rows: list[list[int]] = [[] for _ in range(count)]
        none = 0xFFFFFFFF
        for row, number in enumerate(kernel.tolist()):
            if number != none:
                self._rows[number].append(row)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Kernel: ...
    @overload
    def __getitem__(self, index: slice) -> list[Kernel]: ...
    def __getitem__(self, index: int | slice) -> Kernel | list[Kernel]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        return Kernel(self._traffic, number, self._rows[number])

    def __iter__(self) -> Iterator[Kernel]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"<{len(self)} kernels>"


class Traffic:
    """Bytes that a report moves at one level, symbolic where the report is.

    Levels
    ------
    unfused
        Every operator reads its inputs and writes its outputs; views move nothing; what selects reads what it takes.
    fused
        Kernels as today's compilers make them (`kernels`): point-wise chains, reductions and norms go together, biases,
        activations and sums with the product before them, softmax, whole or in steps, with the products around it.
        Products dequantise and transpose while they read, slices are taken by whoever reads them, and what is
        concatenated is made in its place. What passes within a kernel moves nothing.
    minimum
        Every weight and input is read once, as far as it is needed, and every output written once.
    cached
        Kernels behind a memory of `capacity` bytes that keeps the tensors used last; a product whose operands do not
        fit is tiled, and reads them again for every tile.

    Examples
    --------
    >>> import macsim
    >>> report = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224))
    >>> [report.traffic(level).bytes for level in ("unfused", "fused", "minimum")]
    [425995840, 216059456, 103046720]
    """

    def __init__(self, report: Report, level: Level, capacity: int | None) -> None:
        if level == "cached":
            if isinstance(capacity, bool) or not isinstance(capacity, int | float) or capacity % 1 != 0:
                raise RequestError(f"cached takes a capacity: a whole number of bytes above 0, not {capacity!r}")
            if not 0 < capacity < 2**63:
                raise RequestError(f"the capacity of a memory is a number of bytes from 1 to 2^63 - 1, not {capacity}")
        elif capacity is not None:
            raise RequestError(f"only the level 'cached' has a capacity; {level!r} has none")
        self.report = report
        self.level = level
        self.capacity = None if capacity is None else int(capacity)
        self._core = report._flows.traffic(level, self.capacity or 0)
        self._total = self._core.total

    @property
    def read(self) -> Number:
        """Bytes of activations read, those of `cache` apart."""
        return self._total["read"]

    @property
    def weights(self) -> Number:
        """Bytes of weights read."""
        return self._total["weights"]

    @property
    def cache(self) -> Number:
        """Bytes read of the keys and values of earlier tokens: inputs and outputs that are named as such."""
        return self._total["cache"]

    @property
    def written(self) -> Number:
        """Bytes written."""
        return self._total["written"]

    @property
    def bytes(self) -> Number:
        """All of them."""
        return self.read + self.weights + self.cache + self.written

    @property
    def trust(self) -> Trust:
        """The worst of the rows; ``"unknown"``: some sizes are not known, and the sums are lower bounds."""
        return self._core.trust

    @property
    def intensity(self) -> float | None:
        """Floating-point operations for each byte; None when sizes are free or nothing moves."""
        return _ratio(self.report.flops, self.bytes)

    @property
    def roles(self) -> dict[str, Number]:
        """The bytes by what they are of: ``input weight cache activation output``."""
        return self._core.roles

    @cached_property
    def columns(self) -> dict[str, NDArray[Any]]:
        """The bytes by row: ``read weights cache written``. What a kernel reads is with the row that needs it first."""
        made = {name: self._core.column(name) for name in MOVED}
        return {name: objects(one) if isinstance(one, list) else one for name, one in made.items()}

    @cached_property
    def kernels(self) -> Kernels:
        """The kernels, in an order in which they can run; ``minimum`` has none."""
        return Kernels(self, self._core.kernel, self._core.kernels)

    @cached_property
    def io_bounds(self) -> list[Number]:
        """Of ``cached``, by kernel: `Kernel.io_bound`."""
        return [_plain(one) for one in self._core.io_bound]

    def by(self, key: Key | Literal["role"], depth: int | None = None) -> dict[str, Number]:
        """Return the bytes of groups of rows, in order of first appearance.

        Parameters
        ----------
        key : {"op", "node", "scope", "dtype", "rule", "role"}
            What the rows of a group have in common; ``"role"`` is `roles`.
        depth : int, optional
            Of scopes: how many levels of modules to tell apart.

        Returns
        -------
        dict of str to int or Expr

        Examples
        --------
        >>> import macsim
        >>> report = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224))
        >>> report.traffic("minimum").by("role")["output"]  # 1000 floats
        4000
        """
        if key == "role":
            return self.roles
        groups = self.report._ledger.groups(key, -1 if depth is None else depth)
        names = [group.name for group in self.report.by(key, depth)]
        sums: list[Number] = [0] * len(names)
        for name in MOVED:
            column = self.columns[name]
            for row in range(len(groups)):
                amount = _plain(column[row])
                if not _is_zero(amount):
                    sums[groups[row]] = sums[groups[row]] + amount
        return dict(zip(names, sums, strict=True))

    def table(self, *, top: int | None = 15) -> RenderableType:
        """Return the kernels as a table that rich can print, most bytes first."""
        from macsim.show_traffic import traffic_table

        return traffic_table(self, top)

    def __rich__(self) -> RenderableType:
        return self.table()

    def __repr__(self) -> str:
        capacity = f" behind {self.capacity} bytes" if self.capacity is not None else ""
        return f"<Traffic {self.level}{capacity}: {self.bytes} bytes>"


def _plain(value: Any) -> Any:
    return value if isinstance(value, _core.Expr) else int(value)


def _is_zero(value: Any) -> bool:
    return not isinstance(value, _core.Expr) and int(value) == 0


def _ratio(work: Number, moved: Number) -> float | None:
    if not isinstance(work, int) or not isinstance(moved, int) or moved == 0:
        return None
    return work / moved
