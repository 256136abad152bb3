# Finds hardware tables by name, alias, path or entry point, and makes a chip of a table and those it inherits from.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Hardware tables: what chips can do, and what it takes. The data is in ``hardware/*.toml``, a file for each chip.

What reads and makes them is imported when the first one is asked for, so that ``import macsim`` does not wait for it.

>>> import macsim
>>> print(macsim.hardware("a100").peak("bf16"))
312 TFLOP/s
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from macsim.errors import HardwareError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint
    from importlib.resources.abc import Traversable

    from macsim.hardware_quantity import Quantity
    from macsim.hardware_schema import Key, Sheet
    from macsim.hardware_types import Hardware

__all__ = ["hardware", "hardware_names"]

GROUP = "macsim.hardware"  # of the entry points that bring tables
# What people write before a chip's name, and leave out as often.
DECORATION = re.compile(
    r"^(nvidia|amd|intel|apple|google|aws|amazon|qualcomm|ampere|geforce|tesla|instinct|radeon|quadro|jetson"
    r"|(cloud(?=tpu)))[ _-]*",
    re.IGNORECASE,
)


def hardware(name: str | os.PathLike[str] | Hardware) -> Hardware:
    """Return what is known of a chip.

    Parameters
    ----------
    name : str, path or Hardware
        The name of a table or an alias (capitals, spaces, dashes and the vendor's name do not matter), or the path of
        a TOML file, which ends in ``.toml``. A `Hardware` is given back as it is.

    Returns
    -------
    Hardware
        See `macsim.hardware_types`.

    Raises
    ------
    HardwareError
        No table is called so (the nearest names are in the message), or the table is not what one must be.

    Examples
    --------
    >>> import macsim
    >>> macsim.hardware("NVIDIA H100 SXM")
    <Hardware h100-sxm: NVIDIA H100 SXM5 80GB>
    >>> macsim.hardware("pi4").cores
    4
    """
    from macsim.hardware_types import Hardware

    if isinstance(name, Hardware):
        return name
    if isinstance(name, os.PathLike) or name.endswith(".toml"):
        return _made(_resolved(_sheet_of_file(os.fspath(name)), ()))
    return _named(_name_of(name))


def hardware_names(*, technologies: bool = False) -> list[str]:
    """Return the names of the chips that have a table.

    Parameters
    ----------
    technologies : bool, optional
        Give the names of process nodes, kinds of memory and families instead, which chips inherit from.

    Examples
    --------
    >>> import macsim
    >>> "h100-sxm" in macsim.hardware_names(), "hbm3" in macsim.hardware_names(technologies=True)
    (True, True)
    """
    if technologies:
        return sorted(name for name, (_, generic) in _shipped().items() if generic)
    return sorted({*(name for name, (_, generic) in _shipped().items() if not generic), *_entry_points()})


# Finding --------------------------------------------------------------------------------------------------------------


@cache
def _shipped() -> dict[str, tuple[Traversable, bool]]:
    """The tables of this package by name, and whether they are of technologies."""
    from importlib import resources

    folder = resources.files("macsim").joinpath("hardware")
    found = {}
    for place, generic in ((folder, False), (folder.joinpath("technology"), True)):
        for file in place.iterdir():
            if file.name.endswith(".toml"):
                found[file.name.removesuffix(".toml")] = (file, generic)
    return found


def _entry_points() -> dict[str, EntryPoint]:
    """The tables of other packages by name. Each entry point is the path of a TOML file, or a function giving it."""
    from importlib import metadata

    return {point.name: point for point in metadata.entry_points(group=GROUP) if point.name not in _shipped()}


@cache
def _named(name: str) -> Hardware:
    return _made(_resolved(_read(name), ()))


def _key(name: str) -> str:
    """Return a name as it is compared: ``NVIDIA H100 SXM`` is ``h100sxm``."""
    text = name.strip()
    while (less := DECORATION.sub("", text)) != text and less:
        text = less
    return re.sub(r"[^a-z0-9+]", "", text.lower())


def _name_of(name: str) -> str:
    """Find the name of a table by itself, or by an alias."""
    if name in _shipped() or name in _entry_points():
        return name
    wanted = _key(name)
    keys = _keys()
    if wanted in keys:
        return keys[wanted]
    near = ", ".join(_nearest(wanted, keys))
    hint = f"the nearest: {near}" if near else "macsim.hardware_names() and macsim hardware list them"
    raise HardwareError(f"there is no hardware table {name!r}; {hint}")


def _keys() -> dict[str, str]:
    """Every name and alias, as compared, and the table's name."""
    names = [*_shipped(), *_entry_points()]
    found: dict[str, str] = {}
    for name in names:
        try:
            aliases = _read(name).aliases
        except HardwareError:
            if name in _shipped():
                raise
            continue  # a table of another package that is broken says so when it is asked for
        for spelling in aliases:
            found.setdefault(_key(spelling), name)
    found.update({_key(name): name for name in reversed(names)})  # names before aliases, ours before those of others
    return found


def _nearest(wanted: str, keys: Mapping[str, str]) -> list[str]:
    """The nearest names: those that begin so, those that contain it, then those that are spelled alike."""
    import difflib

    begin = sorted((key for key in keys if wanted and key.startswith(wanted)), key=len)
    within = sorted((key for key in keys if len(wanted) > 1 and wanted in key), key=len)
    alike = difflib.get_close_matches(wanted, keys, n=5, cutoff=0.5)
    return list(dict.fromkeys(keys[key] for key in [*begin, *within, *alike]))[:5]


@cache
def _read(name: str) -> Sheet:
    """The table of a name, as it is written."""
    from macsim.hardware_schema import read_sheet

    if name in _shipped():
        file, generic = _shipped()[name]
        sheet = read_sheet(file.read_text(encoding="utf-8"), name, f"macsim/hardware/{file.name}")
        if generic != (sheet.kind == "technology"):
            raise HardwareError(f"{file}: kind: tables of technologies, and only these, are in the folder technology")
        return sheet
    point = _entry_points()[name]
    try:
        given: Any = point.load()
        path = os.fspath(given() if callable(given) else given)
    except Exception as error:  # it is code of others
        raise HardwareError(f"the entry point {name} = {point.value} brings no table: {error}") from error
    return _sheet_of_file(path, name)


def _sheet_of_file(file: str, name: str = "") -> Sheet:
    from pathlib import Path

    from macsim.hardware_schema import read_sheet

    path = Path(file)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HardwareError(f"{path}: cannot be read: {error}") from error
    return read_sheet(text, name or path.stem.lower(), str(path))


# Inheriting -----------------------------------------------------------------------------------------------------------


def _resolved(sheet: Sheet, below: tuple[str, ...]) -> Sheet:
    """Add to a table what it inherits: what it states itself wins, then what it names first."""
    from dataclasses import replace

    if sheet.file in below:
        circle = " -> ".join([*below[below.index(sheet.file) :], sheet.file])
        raise HardwareError(f"{sheet.file}: inherits: in a circle: {circle}")
    numbers = dict(sheet.numbers)
    technologies = dict(sheet.technologies)
    cores = sheet.cores
    for key, name in _parents(sheet):
        parent = _resolved(_parent(sheet, key, name), (*below, sheet.file))
        for where, quantity in parent.numbers.items():
            if where not in numbers:
                numbers[where] = replace(quantity, status="inherited")
        for where, technology in parent.technologies.items():
            technologies[where] = technologies.get(where) or technology
        cores = cores or parent.cores
    return replace(sheet, numbers=numbers, technologies=technologies, cores=cores)


def _parents(sheet: Sheet) -> list[tuple[str, str]]:
    """The tables that one inherits from, and where it names them: the kinds of its memory and links come first."""
    named = [(f"{'.'.join(map(str, where))}.technology", name) for where, name in sheet.technologies.items() if name]
    if sheet.kind == "technology":
        named = []  # the table of a kind of memory names itself
    return [*named, *(("inherits", name) for name in sheet.inherits)]


def _parent(sheet: Sheet, key: str, name: str) -> Sheet:
    if name.endswith(".toml"):
        return _sheet_of_file(os.path.join(os.path.dirname(sheet.file), name))
    try:
        parent = _read(_name_of(name))
    except HardwareError as error:
        if not str(error).startswith("there is no hardware table"):
            raise
        near = ", ".join(hardware_names(technologies=True))
        raise HardwareError(f"{sheet.file}: {key}: {error}; technologies are {near}") from None
    if key != "inherits" and parent.kind != "technology":
        raise HardwareError(f"{sheet.file}: {key}: {name!r} is a chip, and no technology")
    return parent


# Making ---------------------------------------------------------------------------------------------------------------


def _made(sheet: Sheet) -> Hardware:
    """Make a chip of a table that has all it inherits: derive what rules can tell, and sort it into its classes."""
    from macsim.hardware_rules import derive
    from macsim.hardware_types import Fit, Hardware, Link, MemoryLevel, Peak, Power, Price

    numbers = derive(sheet.kind, sheet.numbers)

    def of(*where: str | int | bool) -> dict[str, Any]:
        """What stands at a place, by the last part of its key."""
        return {str(key[-1]): value for key, value in numbers.items() if key[:-1] == where}

    levels = [
        MemoryLevel(str(name), technology, **of("memory", name))
        for (section, name), technology in sheet.technologies.items()
        if section == "memory"
    ]
    power = of("power")
    fits = dict.fromkeys(key[1:-1] for key in numbers if key[0] == "fit")
    return Hardware(
        sheet.name,
        sheet.title,
        sheet.kind,
        sheet.vendor,
        sheet.launch,
        sheet.aliases,
        sheet.inherits,
        sheet.notes,
        process=numbers.get(("process",)),
        cores=sheet.cores,
        clock=numbers.get(("clock",)),
        peaks=tuple(Peak(str(k[1]), str(k[2]), bool(k[3]), q) for k, q in numbers.items() if k[0] == "peak"),
        prices=tuple(Price(str(k[1]), str(k[2]), q) for k, q in numbers.items() if k[0] == "energy"),
        levels=tuple(sorted(levels, key=lambda level: level.name != "dram")),
        links=tuple(
            Link(str(name), technology, **of("link", name))
            for (section, name), technology in sheet.technologies.items()
            if section == "link"
        ),
        power=Power(**power, by_cores=_by_cores(numbers)),
        launch_overhead=numbers.get(("launch_overhead",)),
        compute_efficiency=numbers.get(("efficiency", "compute")),
        memory_efficiency=numbers.get(("efficiency", "memory")),
        fits=tuple(
            Fit(str(name), str(dtype), str(scope), **of("fit", name, dtype, scope)) for name, dtype, scope in fits
        ),
        path=sheet.file,
    )


def _by_cores(numbers: Mapping[Key, Quantity]) -> tuple[tuple[int, Quantity], ...]:
    points = [(int(key[2]), value) for key, value in numbers.items() if key[:2] == ("power", "cores")]
    return tuple(sorted(points, key=lambda point: point[0]))
