# Report: what analysis found, as numbers: totals, rows, columns, and their values at many sizes.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""What a count found: totals, rows and columns, symbolic until bound, and their values at many sizes at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from macsim import _core
from macsim.errors import RequestError
from macsim.groups import quantity_of
from macsim.rows import BYTES, WORK, Columns, Number, Rows, Trust, objects

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from macsim._core import Diagnostic, Ledger, Model, Tensor, Total, Unbound

__all__ = ["Found", "evaluate"]

SIZE_LIMIT = 2**63 - 1
TOTALS = ("macs", "macs_unmasked", "flops", "int_ops", *WORK, *BYTES, "parameters", "weight_bytes")


class Found:
    """What a count found: the numbers of a `Report`."""

    def __init__(self, ledger: Ledger, model: Model) -> None:
        self._ledger = ledger
        self.model = model

    # Totals -----------------------------------------------------------------------------------------------------------

    @cached_property
    def total(self) -> Total:
        """The sum of all rows. Rows that are unknown are left out of it: see `Total.sign` and `Total.unknown`."""
        return self._ledger.total()

    @property
    def macs(self) -> Number:
        """Multiply-accumulates of contractions."""
        return self.total.macs

    @property
    def macs_unmasked(self) -> Number:
        """Those of kernels that skip the positions which causal masks and windows of attention operators hide.

        `macs` has such attention in full, as most programs count it. A mask that is a tensor hides nothing here: what
        is in it is data.

        Examples
        --------
        >>> import torch
        >>> import macsim
        >>> attend = torch.nn.functional.scaled_dot_product_attention
        >>> report = macsim.count(attend, *[(1, 1, 4, 8)] * 3, kwargs={"is_causal": True})
        >>> report.macs, report.macs_unmasked  # 4 * 4 pairs of a query and a key; 1 + 2 + 3 + 4 of them are visible
        (256, 160)
        """
        return self.total.macs_unmasked

    @property
    def flops(self) -> Number:
        """Floating-point operations: 2 for a MAC, 1 for every other scalar operation on floats."""
        return self.total.flops

    @property
    def int_ops(self) -> Number:
        """The same on integers."""
        return self.total.int_ops

    @property
    def work(self) -> dict[str, Number]:
        """The work by kind: ``mac add mul div compare exp log sqrt trig logic convert``."""
        return self.total.work

    @property
    def read(self) -> Number:
        """Bytes of activations read."""
        return self.total.read

    @property
    def weights(self) -> Number:
        """Bytes read of tensors stored in the model, each time they are read."""
        return self.total.weights

    @property
    def written(self) -> Number:
        """Bytes written."""
        return self.total.written

    @property
    def parameters(self) -> Number:
        """Elements of the stored tensors that are read as data, each tensor once."""
        return self._ledger.parameters

    @property
    def weight_bytes(self) -> Number:
        """Bytes of the stored tensors that are read as data, each tensor once."""
        return self._ledger.weight_bytes

    @property
    def trust(self) -> Trust:
        """The worst of the rows: ``"exact"``, ``"bound"``, ``"estimate"`` or ``"unknown"``."""
        return self.total.trust

    # Parts ------------------------------------------------------------------------------------------------------------

    @property
    def rows(self) -> Rows:
        """The nodes, in the order of execution."""
        return Rows(self._ledger, range(len(self._ledger)))

    @cached_property
    def columns(self) -> Columns:
        """The rows as numpy arrays, by name."""
        return Columns(self._ledger)

    @property
    def inputs(self) -> list[Tensor]:
        """The model's inputs, with the shapes that were used."""
        return self._ledger.inputs

    @property
    def outputs(self) -> list[Tensor]:
        """The model's outputs, with the shapes that came out."""
        return self._ledger.outputs

    @cached_property
    def unbound(self) -> list[Unbound]:
        """The symbols that are still free, each with what it stands for."""
        return self._ledger.unbound

    @cached_property
    def diagnostics(self) -> list[Diagnostic]:
        """What was remarked on the way: unknown operators, shapes that disagree, and the like."""
        return self._ledger.diagnostics

    # Sizes ------------------------------------------------------------------------------------------------------------

    def evaluate(
        self,
        quantity: str | Number | Sequence[Any] | NDArray[Any] = "macs",
        sizes: Mapping[str, Any] | None = None,
        /,
        **more: Any,
    ) -> NDArray[Any]:
        """Evaluate a total, or a whole column, for many sizes at once.

        Parameters
        ----------
        quantity : str, Expr or array of these
            The name of a total (``"macs"``, ``"flops"``, ``"read"``, a kind of work, ...), an expression, or several,
            such as a column: ``report.columns["mac"]``.
        sizes, **more : array of int
            Sizes of every symbol in it, by name; they broadcast against each other.

        Returns
        -------
        numpy.ndarray
            Of the quantity's shape followed by the sizes' common shape: int64 where every value fits, otherwise
            objects.

        Examples
        --------
        >>> import macsim
        >>> report = macsim.count("examples/gpt2.onnx")
        >>> report.evaluate("macs", batch=1, seq=[1, 1024])
        array([   123550464, 145824153600])
        """
        import numpy as np

        names = {symbol.name for symbol in self.unbound}
        given = {name: np.asarray(size) for name, size in {**(sizes or {}), **more}.items()}
        for name, size in given.items():
            if size.dtype.kind not in "iu":
                raise RequestError(f"the sizes of {name!r} must be integers, not {size.dtype}")
            if size.size and int(size.min()) < 0:
                raise RequestError(f"a size of {name!r} is negative: {size.min()}")
            if size.size and int(size.max()) > SIZE_LIMIT:
                raise RequestError(f"a size of {name!r} does not fit 64 bits: {size.max()}")
        wanted = objects([self._total(quantity)]) if isinstance(quantity, str) else _array(quantity)
        outer = () if isinstance(quantity, str) else wanted.shape
        expressions = list(wanted.ravel())
        names.update(name for e in expressions if isinstance(e, _core.Expr) for name in e.symbols)
        for name in given:
            if name not in names:
                raise RequestError(f"nothing is called {name!r}; to bind: {', '.join(sorted(names)) or 'nothing'}")
        values = evaluate(expressions, given, outer)
        self._check_assumptions(given)
        return values

    def _check_assumptions(self, given: Mapping[str, NDArray[Any]]) -> None:
        """Raise what `bind` raises, when one of the sizes is such that the counts do not hold for it."""
        import numpy as np

        for assumed in self._ledger.assumptions:
            if not given.keys() >= set(assumed.symbols):
                continue
            some = np.broadcast_arrays(*(given[name] for name in assumed.symbols))
            sizes = dict(zip(assumed.symbols, some, strict=True))
            values = evaluate([assumed], sizes, ())
            below = (
                [isinstance(v, int) and v < 0 for v in values.flat] if values.dtype == object else values.ravel() < 0
            )
            if np.any(below):
                at = np.unravel_index(int(np.argmax(below)), values.shape)
                self._ledger.bind({name: int(size[at]) for name, size in sizes.items()})

    def _total(self, name: str) -> Number:
        if name not in TOTALS:
            raise RequestError(f"there is no total {name!r}; there are {', '.join(TOTALS)}")
        return getattr(self, name) if name in ("parameters", "weight_bytes") else quantity_of(self.total, name)


def evaluate(expressions: list[Any], sizes: Mapping[str, NDArray[Any]], outer: tuple[int, ...]) -> NDArray[Any]:
    """Evaluate expressions over sizes that broadcast against each other; see `Report.evaluate`."""
    import numpy as np

    try:
        common = np.broadcast_shapes(*(size.shape for size in sizes.values()))
    except ValueError as error:
        raise RequestError(f"the sizes do not broadcast: {error}") from error
    count = int(np.prod(common, dtype=np.int64))
    table = np.empty((len(sizes), count), np.int64)
    for row, size in zip(table, sizes.values(), strict=True):
        row[:] = np.broadcast_to(size, common).ravel()
    values, _, exact = _core.evaluate(expressions, list(sizes), table)
    if not exact.all():
        names, wide = list(sizes), values.astype(object)
        for at in zip(*np.nonzero(~exact), strict=True):
            e = expressions[at[0]]
            point = {name: int(size) for name, size in zip(names, table[:, at[1]], strict=True)}
            wide[at] = e if isinstance(e, int) else e.bind(point)
        values = wide
    return values.reshape(outer + common)


def _array(quantity: Any) -> NDArray[Any]:
    import numpy as np

    if isinstance(quantity, np.ndarray):
        return quantity if quantity.dtype == object else quantity.astype(object)
    if isinstance(quantity, int | _core.Expr):
        out = np.empty((), object)
        out[()] = quantity
        return out
    return objects(list(quantity))
