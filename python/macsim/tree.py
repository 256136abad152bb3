# The modules of a report as a tree.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""The modules of a report as a tree for terminals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from macsim.errors import RequestError
from macsim.modules import Called
from macsim.show import cell

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

    from macsim.report import Report
    from macsim.rows import Number

__all__ = ["report_tree"]


@dataclass
class Branch:
    """A module with all that is inside it."""

    name: str
    called: Called = field(default_factory=Called)
    macs: Number = 0
    signs: set[str] = field(default_factory=set)
    rows: int = 0
    parameters: int = 0
    inside: dict[str, Branch] = field(default_factory=dict)

    def below(self, path: str) -> list[Branch]:
        """Return the branches on the way to a path, this one first."""
        way = [self]
        for name in path.split(".") if path else ():
            way.append(way[-1].inside.setdefault(name, Branch(name)))
        return way

    @property
    def sign(self) -> str:
        """How the sum of the MACs is to be read."""
        signs = self.signs - {""}
        return signs.pop() if len(signs) == 1 else "~" if signs else ""


def branches(report: Report) -> Branch:
    """Return the modules of a report, each with the sums of what is inside it."""
    root = Branch(report.model.name or "model")
    for path, called in report._modules.items():
        way = root.below(path)
        way[-1].called = called
        for branch in way:
            branch.parameters += called.parameters
    for group in report.by("scope"):
        for branch in root.below(group.name):
            branch.macs = branch.macs + group.macs
            branch.rows += group.rows
            branch.signs.add(group.sign("macs"))
    return root


def report_tree(report: Report, depth: int | None) -> Tree:
    """Return the modules of a report as a tree that rich prints; ``depth`` levels of them."""
    from rich.text import Text
    from rich.tree import Tree

    if depth is not None and depth < 0:
        raise RequestError(f"a tree of depth {depth} has no levels")
    root = branches(report)
    known = bool(report._modules)
    top = Text(root.name, style="bold")
    if root.called.kind and root.called.kind != root.name:
        top.append(f"  {root.called.kind}", style="dim")
    _quantities(top, root, None, known)
    if not known:
        top.append(f"  {cell(report.parameters)} parameters", style="dim")
    tree = Tree(top, guide_style="dim")
    waiting = [(tree, root, 0)]
    while waiting:
        grown, branch, level = waiting.pop()
        if depth is not None and level >= depth:
            continue
        shown = [one for one in branch.inside.values() if one.rows or one.parameters or one.called.calls]
        waiting += [(grown.add(_label(one, root, known)), one, level + 1) for one in shown]
    return tree


def _label(branch: Branch, root: Branch, known: bool) -> Text:
    from rich.text import Text

    label = Text(branch.name, style="bold")
    if branch.called.kind:
        label.append(f"  {branch.called.kind}", style="not bold dim")
    if branch.called.calls > 1:
        label.append(f"  called {branch.called.calls:,} times", style="not bold")
    _quantities(label, branch, root.macs, known)
    return label


def _quantities(label: Text, branch: Branch, whole: Number | None, known: bool) -> None:
    label.append(f"  {cell(branch.macs, branch.sign)} MACs", style="not bold cyan")
    if isinstance(branch.macs, int) and isinstance(whole, int) and branch.macs and whole:
        label.append(f"  {100 * branch.macs / whole:.1f} %", style="not bold")
    if known and branch.parameters:
        label.append(f"  {cell(branch.parameters)} parameters", style="not bold dim")
