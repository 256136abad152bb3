# Groups of rows: sums with names.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Groups of rows: sums with names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from macsim.errors import RequestError
from macsim.rows import BYTES, WORK, Number

if TYPE_CHECKING:
    import os

    import pandas as pd
    from rich.console import RenderableType

    from macsim._core import Total
    from macsim.report import Report

__all__ = ["Groups"]

Key: TypeAlias = Literal["op", "node", "scope", "dtype", "rule"]


class Groups(Sequence["Total"]):
    """The sums of groups of rows: a list of `Total`, each with a name.

    Examples
    --------
    >>> import macsim
    >>> groups = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224)).by("op")
    >>> [(group.name, group.macs) for group in groups.sort("macs")[:2]]
    [('Conv', 4087136256), ('Gemm', 2048000)]
    """

    def __init__(self, report: Report, key: Key, groups: Sequence[Total]) -> None:
        self._report = report
        self.key = key
        self._groups = list(groups)

    def __len__(self) -> int:
        return len(self._groups)

    @overload
    def __getitem__(self, index: int | str) -> Total: ...
    @overload
    def __getitem__(self, index: slice) -> Groups: ...
    def __getitem__(self, index: int | slice | str) -> Total | Groups:
        if isinstance(index, slice):
            return Groups(self._report, self.key, self._groups[index])
        if isinstance(index, str):
            for group in self._groups:
                if group.name == index:
                    return group
            raise KeyError(index)
        return self._groups[index]

    def sort(self, by: str = "macs", *, descending: bool = True) -> Groups:
        """Return the groups in another order.

        Parameters
        ----------
        by : str
            ``"name"``, ``"rows"`` or a quantity. Symbolic quantities are compared as if every free size were 1000,
            equal ones by their FLOPs.
        descending : bool, default True
            Largest first. (Names go from A to Z then.)

        Returns
        -------
        Groups
        """
        if by == "name":
            order = sorted(range(len(self)), key=lambda i: self._groups[i].name, reverse=not descending)
        else:
            weight = rough(quantity_of(group, by) for group in self._groups)
            other = rough(group.flops for group in self._groups)
            order = sorted(range(len(self)), key=lambda i: (weight[i], other[i]), reverse=descending)
        return Groups(self._report, self.key, [self._groups[i] for i in order])

    def table(self, *, top: int | None = None) -> RenderableType:
        """Return the groups as a table that rich can print."""
        from macsim.show import groups_table

        return groups_table(self, self._report.total, top)

    def to_dict(self) -> list[dict[str, Any]]:
        """Return the groups as plain data; expressions are texts."""
        from macsim.export import total_dict

        return [{self.key: group.name, **total_dict(group)} for group in self._groups]

    def to_pandas(self) -> pd.DataFrame:
        """Return the groups as a data frame, indexed by name."""
        from macsim.export import groups_frame

        return groups_frame(self)

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the groups as CSV text, and write it to ``path`` when given."""
        from macsim.export import groups_csv, written

        return written(groups_csv(self), path)

    def to_markdown(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the groups as a Markdown table, and write it to ``path`` when given."""
        from macsim.export import groups_markdown, written

        return written(groups_markdown(self), path)

    def __rich__(self) -> RenderableType:
        from macsim.show import MOST_LINES

        return self.table(top=MOST_LINES)

    def __repr__(self) -> str:
        from macsim.show import plain

        return plain(self.__rich__())

    def _repr_html_(self) -> str:
        from macsim.show import groups_html

        return groups_html(self, self._report.total)


def quantity_of(total: Total, name: str) -> Number:
    """Return a quantity of a total by its name."""
    if name in ("macs", "macs_unmasked", "flops", "int_ops", "rows", *BYTES):
        value: Number = getattr(total, name)
        return value
    if name in WORK:
        return total.work[name]
    known = ("macs", "macs_unmasked", "flops", "int_ops", "rows", *BYTES, *WORK)
    raise RequestError(f"there is no quantity {name!r}; there are {', '.join(known)}")


def rough(numbers: Iterable[Number]) -> list[float]:
    """Return numbers to sort by: symbolic ones as if every free size were 1000; unknown ones just before the zeros."""
    out = []
    for number in numbers:
        if not isinstance(number, int):
            number = number.bind(dict.fromkeys(number.symbols, 1000))
        out.append(float(number) if isinstance(number, int) else 0.5)
    return out
