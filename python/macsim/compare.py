# One model on many chips, at many sizes.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Comparisons: estimates of one model on several chips, for all combinations of sizes at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from macsim.errors import RequestError
from macsim.report import Report

if TYPE_CHECKING:
    import os

    import pandas as pd
    from rich.console import RenderableType

    from macsim.estimate import Estimate
    from macsim.groups import Key
    from macsim.hardware_types import Hardware
    from macsim.traffic import Level

__all__ = ["Comparison", "compare"]


class Comparison:
    """Estimates of a model on several chips; see `compare`.

    Attributes
    ----------
    estimates : dict of str to Estimate
        By the names of the chips. Their numbers are arrays with an axis for each of `sizes`.
    sizes : dict of str to list of int
        The sizes that were asked for.
    """

    def __init__(self, estimates: dict[str, Estimate], sizes: dict[str, list[int]]) -> None:
        self.estimates = estimates
        self.sizes = sizes

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield a line for each chip and combination of sizes."""
        import numpy as np

        from macsim.estimate_physics import Range

        for name, estimate in self.estimates.items():
            for at in np.ndindex(*(len(values) for values in self.sizes.values())):

                def here(values: Any, at: tuple[int, ...] = at) -> Any:
                    return values[at] if np.ndim(values) else values

                record = {"hardware": name, **{s: v[i] for (s, v), i in zip(self.sizes.items(), at, strict=True)}}
                for what in ("seconds", "joules", "watts"):
                    record[what] = Range(*(float(here(value)) for value in getattr(estimate, what)))
                record["bound"] = str(here(estimate.bound))
                record["sign"] = estimate.sign
                yield record

    def best(self, what: str = "joules") -> str:
        """Return the chip that takes the least, in sum over all sizes: of ``joules`` or ``seconds``."""
        import numpy as np

        if what not in ("joules", "seconds"):
            raise RequestError(f'the least of "joules" or of "seconds", not of {what!r}')
        return min(self.estimates, key=lambda name: float(np.sum(getattr(self.estimates[name], what).typical)))

    def to_pandas(self) -> pd.DataFrame:
        """Return the comparison as a data frame."""
        import pandas as pd

        from macsim.estimate_physics import Range

        rows = []
        for record in self.records():
            row = {name: value for name, value in record.items() if not isinstance(value, Range)}
            for what in ("seconds", "joules", "watts"):
                row.update({f"{what}_{name}": value for name, value in record[what]._asdict().items()})
            rows.append(row)
        return pd.DataFrame(rows)

    def plot(
        self,
        kind: Literal["chips", "sizes", "page", "roofline", "energy"] | None = None,
        *,
        by: Key = "op",
        depth: int | None = None,
        path: str | os.PathLike[str] | None = None,
    ) -> Any:
        """Draw the comparison with matplotlib.

        Parameters
        ----------
        kind : {"chips", "sizes", "page", "roofline", "energy"}, optional
            ``"chips"``: joules and seconds of each chip with their intervals, which is what one set of sizes gets.
            ``"sizes"``: energy over the one size of which there are several, such as the batch, a line for each chip.
            The others are of one chip: see `Estimate.plot`.
        by, depth, path
            As `Estimate.plot` takes them.

        Returns
        -------
        matplotlib.figure.Figure
            One that no window shows.

        Examples
        --------
        >>> import macsim
        >>> report = macsim.count("examples/resnet50.onnx", dims={"height": 224, "width": 224})
        >>> found = macsim.compare(report, ["a100", "h100"], batch=[1, 2, 4, 8])
        >>> figure = found.plot(path="batch.svg")  # doctest: +SKIP
        """
        from macsim.estimate_plots import plotted

        several = any(len(values) > 1 for values in self.sizes.values())
        found = list(self.estimates.values())
        return plotted(found, kind or ("sizes" if several else "chips"), by=by, depth=depth, path=path)

    def table(self) -> RenderableType:
        """Return the comparison as a table that rich can print."""
        from macsim.estimate_show import comparison_table

        return comparison_table(self)

    def __rich__(self) -> RenderableType:
        return self.table()

    def __repr__(self) -> str:
        from macsim.show import plain

        return plain(self.table())


def compare(
    model: Any,
    chips: Sequence[str | Hardware],
    sizes: Mapping[str, Any] | None = None,
    /,
    *,
    inputs: Sequence[Any] = (),
    dtype: str | None = None,
    tf32: bool = False,
    traffic: Level = "fused",
    capacity: int | None = None,
    cores: int | None = None,
    devices: int = 1,
    parallel: Literal["data", "tensor"] = "data",
    **more: Any,
) -> Comparison:
    """Compare what a model takes on several chips, for all combinations of sizes.

    Parameters
    ----------
    model : Report, or what `count` takes
        A report, or a model that is counted.
    chips : sequence of str or Hardware
        Their names.
    sizes, **more : int or sequence of int
        Sizes of the symbols that are free: one, or all that are wanted.
    inputs : sequence, optional
        Of a torch program: shapes or tensors, as `count` takes them.
    dtype, tf32, traffic, capacity, cores, devices, parallel
        As `Report.estimate` takes them, the same for all chips.

    Returns
    -------
    Comparison

    Examples
    --------
    >>> import macsim
    >>> report = macsim.count("examples/resnet50.onnx", dims={"height": 224, "width": 224})
    >>> found = macsim.compare(report, ["a100", "h100"], batch=range(1, 4), dtype="f16")
    >>> found.estimates["h100-sxm"].joules.typical.shape
    (3,)
    """
    import numpy as np

    from macsim.api import count
    from macsim.estimate import estimated

    if isinstance(chips, str) or not chips:
        raise RequestError(f"chips is a sequence of at least one, as in ['a100', 'h100'], not {chips!r}")
    report = model if isinstance(model, Report) else count(model, *inputs)
    lists = {name: _sizes(name, values) for name, values in {**(sizes or {}), **more}.items()}
    grid = dict(zip(lists, np.ix_(*lists.values()), strict=True)) if lists else {}
    found = {}
    for chip in chips:
        one = estimated(
            report,
            chip,
            grid,
            dtype=dtype,
            tf32=tf32,
            traffic=traffic,
            capacity=capacity,
            cores=cores,
            devices=devices,
            parallel=parallel,
        )
        found[one.hardware.name] = one
    return Comparison(found, lists)


def _sizes(name: str, values: Any) -> list[int]:
    """The sizes of a symbol as a list."""
    import numpy as np

    found = np.atleast_1d(np.asarray(list(values) if isinstance(values, Iterable) else values))
    if found.ndim > 1 or not found.size or found.dtype.kind not in "iu":
        raise RequestError(f"the sizes of {name!r} are integers, one or several, not {values!r}")
    return [int(one) for one in found]
