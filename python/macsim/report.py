# Report: the face of what analysis found. Groups, traffic, binding, what chips take for it, tables and files.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""The report of a count: what was found, by groups, bound to sizes, on chips, and as tables and files."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from macsim import _core
from macsim.errors import RequestError
from macsim.groups import Groups, Key
from macsim.report_found import Found
from macsim.report_found import evaluate as evaluate

if TYPE_CHECKING:
    import os

    import pandas as pd
    from rich.console import RenderableType
    from rich.tree import Tree

    from macsim._core import CalledModules, Ledger, Model
    from macsim.estimate import Estimate
    from macsim.hardware_types import Hardware
    from macsim.memory import Memory
    from macsim.modules import Called
    from macsim.traffic import Level, Traffic
    from macsim.training import TrainingReport

__all__ = ["Report"]


class Report(Found):
    """What a count found: totals, rows, groups and remarks; symbolic until it is bound.

    Numbers are exact: ints, or Exprs where sizes are still free. A MAC is one multiplication and one addition of a
    contraction; a FLOP count takes 2 for a MAC and 1 for every other scalar operation on floats; integer arithmetic is
    `int_ops`. Bytes are those of an unfused run: every node reads its inputs and writes its outputs once.

    Examples
    --------
    >>> import macsim
    >>> report = macsim.count("examples/resnet50.onnx", dims={"height": 224, "width": 224})
    >>> report.macs
    Expr('4089184256*batch')
    >>> report.bind(batch=8).macs
    32713474048
    >>> [symbol.name for symbol in report.unbound]
    ['batch']
    """

    def __init__(
        self,
        ledger: Ledger,
        model: Model,
        sizes: Mapping[str, int] | None = None,
        modules: Mapping[str, Called] | CalledModules | None = None,
    ) -> None:
        super().__init__(ledger, model)
        self._sizes = dict(sizes or {})
        self._found_modules = modules
        self._training: TrainingReport | None = None
        self._cache: tuple[str, ...] | None = None

    def __copy__(self) -> Report:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Report:
        return self  # nothing in it changes

    @property
    def _modules(self) -> Mapping[str, Called]:
        """What is known of modules, by path; it is made up when it is asked for."""
        if self._found_modules is None:
            self._found_modules = {}
        elif not isinstance(self._found_modules, Mapping):
            from macsim.modules import Called

            told = self._found_modules.told()
            self._found_modules = {path: Called(kind, calls, own) for path, kind, calls, own in told}
        return self._found_modules

    # Parts ------------------------------------------------------------------------------------------------------------

    def by(self, key: Key, depth: int | None = None) -> Groups:
        """Return the sums of groups of rows.

        Parameters
        ----------
        key : {"op", "node", "scope", "dtype", "rule"}
            What the rows of a group have in common.
        depth : int, optional
            Of scopes: how many levels of modules to tell apart; by default all.

        Returns
        -------
        Groups
            In order of first appearance.

        Examples
        --------
        >>> import macsim
        >>> report = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224))
        >>> {group.name: group.macs for group in report.by("scope", depth=1)}["layer1"]
        667942912
        """
        return Groups(self, key, self._ledger.by(key, -1 if depth is None else depth))

    @property
    def training(self) -> TrainingReport:
        """What a step of training takes: of a model that was counted with ``training=``.

        Examples
        --------
        >>> import macsim
        >>> report = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224), training=True)
        >>> report.training.memory.optimizer  # two states of 4 bytes for each of 25,557,032 parameters
        204456256
        """
        if self._training is None:
            raise RequestError("the model was counted without training: give count(..., training=True)")
        return self._training

    @cached_property
    def _flows(self) -> _core.Flows:
        return _core.Flows(self._ledger, self._cache)

    def traffic(self, level: Level = "unfused", capacity: int | None = None) -> Traffic:
        """Return the bytes that move at a level.

        Parameters
        ----------
        level : {"unfused", "fused", "minimum", "cached"}
            What stays near the units that compute between one operator and the next: see `Traffic`.
        capacity : int
            Bytes of the memory, of ``"cached"``.

        Returns
        -------
        Traffic

        Raises
        ------
        RequestError
            When there is no such level, or the capacity is not a number of bytes above 0.

        Examples
        --------
        >>> import macsim
        >>> report = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224))
        >>> report.traffic("minimum").weights == report.weight_bytes
        True
        """
        from macsim.traffic import Traffic

        return Traffic(self, level, capacity)

    def memory(self, *, by_module: bool = False, by_program: bool = False, in_place: bool = False) -> Memory:
        """Return the bytes that a run holds: weights, and activations while somebody needs them.

        Parameters
        ----------
        by_module : bool, default False
            Whether a module's inputs are held until it returns, as Python's calls do when PyTorch runs a model;
            otherwise a tensor is freed after the last row that reads it.
        by_program : bool, default False
            Of a torch program that was run: whether results are held for as long as its variables held them.
        in_place : bool, default False
            Whether a point-wise operator writes its result over an input of the same size that nobody needs later.

        Returns
        -------
        Memory

        Examples
        --------
        >>> import macsim
        >>> macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224)).memory().peak
        112676512
        """
        from macsim.memory import Memory

        return Memory(self, by_module, by_program, in_place)

    # Sizes ------------------------------------------------------------------------------------------------------------

    def bind(self, sizes: Mapping[str, int] | None = None, /, **more: int) -> Report:
        """Return the report with sizes in the place of symbols. Nothing is analysed again.

        Parameters
        ----------
        sizes : mapping of str to int, optional
            For names that are no identifiers.
        **more : int
            Sizes by name.

        Returns
        -------
        Report

        Raises
        ------
        RequestError
            When a name is nobody's, a size is negative, or a simplification made on the way does not hold for it.

        Examples
        --------
        >>> import macsim
        >>> report = macsim.count("examples/gpt2.onnx")
        >>> report.bind(batch=1, seq=1024).macs
        145824153600
        """
        given = {**(sizes or {}), **more}
        for name, size in given.items():
            if self._sizes.get(name, size) != size:
                raise RequestError(f"{name!r} is already bound to {self._sizes[name]}")
        report = Report(self._ledger.bind(given), self.model, {**self._sizes, **given}, self._found_modules)
        report._cache = self._cache
        if self._training is not None:
            report._training = self._training.bind(report, given)
        return report

    at = bind

    def estimate(
        self,
        on: str | Hardware,
        sizes: Mapping[str, Any] | None = None,
        /,
        *,
        dtype: str | None = None,
        tf32: bool = False,
        traffic: Level = "fused",
        capacity: int | None = None,
        cores: int | None = None,
        devices: int = 1,
        parallel: Literal["data", "tensor"] = "data",
        link: str | None = None,
        sent: Any = None,
        seconds: Any = None,
        **more: Any,
    ) -> Estimate:
        """Estimate the time, the energy and the power of a run on a chip.

        For each node, ``T = max(F / (u_c peak), B / (u_m BW)) + t_launch``; in sum ``E = F e_op + B e_byte +
        P_static T``. On CPUs the two times add up, and the power is that of a package at work. Where a chip would draw
        more than it may, time is stretched. Every constant is the table's, with its range; what has no number is listed
        in `Estimate.missing`.

        Parameters
        ----------
        on : str or Hardware
            A chip: what `macsim.hardware` takes.
        sizes, **more : int or array of int
            Sizes of the symbols that are free; they broadcast against each other.
        dtype : str, optional
            What floats are taken as, in arithmetic and in memory: ``"bf16"``, ``"f16"``, ``"i8"``.
        tf32 : bool
            Whether products of f32 go to tensor units as tf32.
        traffic : {"fused", "unfused", "minimum", "cached"}
            Whose bytes count, and whose kernels are started: see `traffic`. Frameworks that run one operator after the
            other are ``"unfused"``.
        capacity : int, optional
            Of ``"cached"``: bytes; by default those of the chip's last cache.
        cores : int, optional
            Of a CPU: how many are at work.
        devices : int
            How many devices share the work; energies are of all of them.
        parallel : {"data", "tensor"}
            Whether each device has all the weights, or a share of them and results are summed over a link.
        link : str, optional
            The link's name; by default the table's first.
        sent : number or array, optional
            Bytes that each device sends; by default, with ``"tensor"``, the sums of every second product.
        seconds : number or array, optional
            A time that was measured: only the energy is estimated then.

        Returns
        -------
        Estimate

        Examples
        --------
        >>> import macsim
        >>> report = macsim.count("examples/resnet50.onnx", dims={"height": 224, "width": 224})
        >>> estimate = report.estimate("a100", batch=[1, 64], dtype="f16")
        >>> [str(bound) for bound in estimate.bound]
        ['launch', 'memory']
        """
        from macsim.estimate import estimated

        return estimated(
            self,
            on,
            {**(sizes or {}), **more},
            dtype=dtype,
            tf32=tf32,
            traffic=traffic,
            capacity=capacity,
            cores=cores,
            devices=devices,
            parallel=parallel,
            link=link,
            sent=sent,
            seconds=seconds,
        )

    def mfu(
        self,
        seconds: float,
        on: str | Hardware,
        sizes: Mapping[str, Any] | None = None,
        /,
        *,
        dtype: str | None = None,
        tf32: bool = False,
        **more: Any,
    ) -> float:
        """Return how much of a chip's peak a measured time comes to: the model FLOP utilisation, of products alone.

        Parameters
        ----------
        seconds : float
            What a run took.
        on : str or Hardware
            The chip: what `macsim.hardware` takes.
        sizes, **more : int
            Sizes of the symbols that are free.
        dtype, tf32
            As `estimate` takes them.

        Examples
        --------
        >>> import macsim
        >>> report = macsim.count("examples/resnet50.onnx", shapes=(64, 3, 224, 224))
        >>> round(report.mfu(0.01, "a100", dtype="f16"), 3)  # 64 * 4.089 GMACs * 2 / 0.01 s / 312 TFLOP/s
        0.168
        """
        from macsim.estimate import utilisation

        return utilisation(self, seconds, on, {**(sizes or {}), **more}, dtype=dtype, tf32=tf32)

    # Windows ----------------------------------------------------------------------------------------------------------

    def table(
        self, by: Key = "op", *, depth: int | None = None, top: int | None = 15, sort: str | None = "macs"
    ) -> RenderableType:
        """Return the report as a table that rich can print.

        Parameters
        ----------
        by : {"op", "node", "scope", "dtype", "rule"}
            What the lines of the table are.
        depth : int, optional
            Of scopes: how many levels.
        top : int, optional
            How many lines at most; None for all.
        sort : str, optional
            The quantity to sort by, largest first; None for the order of execution.

        Returns
        -------
        rich renderable

        Examples
        --------
        >>> import macsim
        >>> from rich.console import Console
        >>> report = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224))
        >>> console = Console(width=100)
        >>> with console.capture() as capture:
        ...     console.print(report.table("node", top=5))
        >>> "/conv1/Conv" in capture.get()
        True
        """
        from macsim.show import report_table

        return report_table(self, by, depth, top, sort)

    def tree(self, depth: int | None = None) -> Tree:
        """Return the modules as a tree that rich can print: MACs and parameters of each with all that is inside it.

        Parameters
        ----------
        depth : int, optional
            How many levels of modules; by default all.

        Returns
        -------
        rich.tree.Tree

        Examples
        --------
        >>> import macsim
        >>> report = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224))
        >>> [branch.label.plain.split()[0] for branch in report.tree(depth=1).children][:2]
        ['conv1', 'bn1']
        """
        from macsim.tree import report_tree

        return report_tree(self, depth)

    def to_dict(self, *, rows: bool = True) -> dict[str, Any]:
        """Return the report as plain data: the schema ``macsim.report/1`` of the docs. Expressions are texts.

        Examples
        --------
        >>> import macsim
        >>> report = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224))
        >>> report.to_dict()["total"]["macs"]
        4089184256
        """
        from macsim.export import report_dict

        return report_dict(self, rows)

    def to_json(
        self, path: str | os.PathLike[str] | None = None, *, rows: bool = True, indent: int | None = None
    ) -> str:
        """Return `to_dict` as JSON text, and write it to ``path`` when given.

        Examples
        --------
        >>> import macsim
        >>> report = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224))
        >>> report.to_json()[:28]
        '{"schema": "macsim.report/1"'
        """
        import json

        from macsim.export import written

        return written(json.dumps(self.to_dict(rows=rows), indent=indent, ensure_ascii=False) + "\n", path)

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the rows as CSV text, and write it to ``path`` when given.

        Examples
        --------
        >>> import macsim
        >>> report = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224))
        >>> report.to_csv().splitlines()[0][:18]
        'name,op,rule,scope'
        """
        from macsim.export import rows_csv, written

        return written(rows_csv(self), path)

    def to_markdown(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        by: Key = "op",
        depth: int | None = None,
        top: int | None = None,
        sort: str | None = "macs",
    ) -> str:
        """Return totals, groups and notes as Markdown, and write it to ``path`` when given.

        Examples
        --------
        >>> import macsim
        >>> report = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224))
        >>> print(report.to_markdown(top=1).splitlines()[0])
        ## resnet50: 175 nodes
        """
        from macsim.export import report_markdown, written

        return written(report_markdown(self, by, depth, top, sort), path)

    def to_pandas(self) -> pd.DataFrame:
        """Return the rows as a data frame, one column for each of `columns`.

        Examples
        --------
        >>> import macsim
        >>> report = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224))
        >>> int(report.to_pandas().groupby("op")["mac"].sum()["Conv"])
        4087136256
        """
        from macsim.export import rows_frame

        return rows_frame(self)

    def __rich__(self) -> RenderableType:
        return self.table()

    def __repr__(self) -> str:
        from macsim.show import plain

        return plain(self.table())

    def _repr_html_(self) -> str:
        from macsim.show import report_html

        return report_html(self)
