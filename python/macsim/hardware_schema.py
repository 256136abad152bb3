# Reads a hardware table, and says what is wrong in it: the file, the key and what is allowed there.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""The schema of hardware tables: TOML in, a `Sheet` of checked numbers out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, cast

from macsim.errors import HardwareError
from macsim.hardware_quantity import BASES, DTYPES, MEASURES, UNITS, WORKS, Confidence, Quantity

Key = tuple[str | int | bool, ...]

KINDS = ("gpu", "cpu", "soc", "tpu", "accelerator", "technology")
CONFIDENCES = ("high", "medium", "low")
SCOPES = ("device", "board", "wall")

# What a number may measure, by where it stands. `positive`: 0 is no such number.
POSITIVE = {"rate", "bandwidth", "capacity", "frequency", "length", "time", "ratio"}
MEMORY = {"capacity": "capacity", "bandwidth": "bandwidth", "energy": "byte", "path": "byte"}
LINK = {"bandwidth": "bandwidth", "energy": "byte"}
POWER = dict.fromkeys(("tdp", "limit", "idle", "static", "active"), "power")
EFFICIENCY = dict.fromkeys(("compute", "memory"), "ratio")
FIT = {"mac": "mac", "byte": "byte", "constant": "energy", "power": "power"}
TOP = {"process": "length", "clock": "frequency", "launch_overhead": "time"}

TEXTS = ("title", "kind", "vendor", "launch", "aliases", "inherits", "notes", "cores", "sources")
TABLES = ("peak", "memory", "link", "energy", "power", "efficiency", "fit")
QUANTITY = ("low", "typical", "high", "unit", "source", "confidence", "note")
NAME = re.compile(r"[a-z0-9]+([.+-][a-z0-9]+)*")


@dataclass
class Sheet:
    """One table as it is written: texts, and numbers by where they stand. Nothing is inherited or derived yet."""

    name: str
    file: str
    title: str = ""
    kind: str = ""
    vendor: str = ""
    launch: str = ""
    aliases: tuple[str, ...] = ()
    inherits: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    cores: int | None = None
    numbers: dict[Key, Quantity] = field(default_factory=dict)
    technologies: dict[Key, str] = field(default_factory=dict)  # of the memory levels and links
    unused_sources: tuple[str, ...] = ()


def read_sheet(text: str, name: str, file: str) -> Sheet:
    r"""Read and check a table.

    Examples
    --------
    >>> sheet = read_sheet('title = "Mine"\nkind = "gpu"\n', "mine", "mine.toml")
    >>> sheet.title, sheet.numbers
    ('Mine', {})
    >>> read_sheet('title = "Mine"\nkind = "fpga"\n', "mine", "mine.toml")
    Traceback (most recent call last):
    ...
    macsim.errors.HardwareError: mine.toml: kind: 'fpga' is not allowed; gpu, cpu, soc, tpu, accelerator, technology are
    """
    import tomllib

    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise HardwareError(f"{file}: not TOML: {error}") from error
    return _Reader(data, name, file).sheet


class _Reader:
    """Goes through a table once; `sheet` is what it found."""

    def __init__(self, data: dict[str, Any], name: str, file: str) -> None:
        self.file = file
        self.sheet = Sheet(name, file)
        self.known("", data, (*TEXTS, *TOP, *TABLES))
        sources = self.table("sources", data.get("sources", {}))
        self.sources = {key: self.text(f"sources.{key}", value) for key, value in sources.items()}
        self.cited: set[str] = set()
        self.texts(data)
        for key, measure in TOP.items():
            if key in data:
                self.put((key,), key, data[key], measure)
        for section, read in (
            ("peak", self.peak),
            ("memory", self.memory),
            ("link", self.link),
            ("energy", self.energy),
            ("fit", self.fit),
        ):
            for index, entry in enumerate(self.array(section, data.get(section, []))):
                read(f"{section}[{index}]", self.table(f"{section}[{index}]", entry))
        self.power(self.table("power", data.get("power", {})))
        self.fields(("efficiency",), "efficiency", self.table("efficiency", data.get("efficiency", {})), EFFICIENCY)
        self.check_sparse()
        self.sheet.unused_sources = tuple(key for key in self.sources if key not in self.cited)

    # what is wrong

    def wrong(self, key: str, what: str) -> NoReturn:
        raise HardwareError(f"{self.file}: {key}: {what}")

    def known(self, key: str, table: Mapping[str, Any], allowed: Iterable[str], needed: Iterable[str] = ()) -> None:
        """Refuse keys that are not allowed, and the lack of those that are needed."""
        allowed = tuple(allowed)
        dotted = f"{key}." if key else ""
        for name in table:
            if name not in allowed:
                import difflib

                near = difflib.get_close_matches(name, allowed, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; allowed are {', '.join(allowed)}"
                self.wrong(f"{dotted}{name}", f"there is no such key{hint}")
        for name in needed:
            if name not in table:
                self.wrong(f"{dotted}{name}", "is missing")

    def choice(self, key: str, value: object, allowed: Iterable[str]) -> str:
        allowed = tuple(allowed)
        if value not in allowed:
            self.wrong(key, f"{value!r} is not allowed; {', '.join(allowed)} {'are' if len(allowed) > 1 else 'is'}")
        return str(value)

    def text(self, key: str, value: object) -> str:
        if not isinstance(value, str) or not value.strip():
            self.wrong(key, f"must be a text, and not {value!r}")
        return value

    def name(self, key: str, value: object) -> str:
        text = self.text(key, value)
        if not NAME.fullmatch(text):
            self.wrong(key, f"{text!r} is not a name: small letters and digits, joined by - . or +")
        return text

    def table(self, key: str, value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.wrong(key, f"must be a table, and not {value!r}")
        return value

    def array(self, key: str, value: object) -> list[Any]:
        if not isinstance(value, list):
            self.wrong(key, f"must be an array: write [[{key}]]")
        return value

    # what stands in it

    def texts(self, data: dict[str, Any]) -> None:
        sheet = self.sheet
        self.known("", {}, (), [name for name in ("title", "kind") if name not in data])
        sheet.title = self.text("title", data["title"])
        sheet.kind = self.choice("kind", data["kind"], KINDS)
        sheet.vendor = self.text("vendor", data["vendor"]) if "vendor" in data else ""
        sheet.launch = self.text("launch", data["launch"]) if "launch" in data else ""
        if sheet.launch and not re.fullmatch(r"(19|20)\d\d(-(0[1-9]|1[0-2]))?", sheet.launch):
            self.wrong("launch", f"{sheet.launch!r} is not a year or a month; write 2022 or 2022-10")
        lists = {}
        for name in ("aliases", "inherits", "notes"):
            values = self.array(name, data.get(name, []))
            lists[name] = tuple(self.text(f"{name}[{index}]", value) for index, value in enumerate(values))
        sheet.aliases, sheet.inherits, sheet.notes = lists["aliases"], lists["inherits"], lists["notes"]
        if (cores := data.get("cores")) is not None:
            sheet.cores = self.count("cores", cores)

    def count(self, key: str, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            self.wrong(key, f"must be a whole number of 1 or more, and not {value!r}")
        return value

    def peak(self, key: str, entry: dict[str, Any]) -> None:
        self.known(key, entry, ("unit", "dtype", "sparse", "rate"), ("unit", "dtype", "rate"))
        unit = self.choice(f"{key}.unit", entry["unit"], UNITS)
        dtype = self.choice(f"{key}.dtype", entry["dtype"], DTYPES)
        sparse = entry.get("sparse", False)
        if unit == "tensor" and "sparse" not in entry:
            self.wrong(
                f"{key}.sparse",
                "is missing: true for a peak that only 2:4-sparse operands reach, false for a dense one "
                "(datasheets often print the sparse one, which is twice the other)",
            )
        if not isinstance(sparse, bool):
            self.wrong(f"{key}.sparse", f"must be true or false, and not {sparse!r}")
        work = "OP/s" if dtype[0] == "i" or dtype == "bool" else "FLOP/s"
        self.put(("peak", unit, dtype, sparse), f"{key}.rate", entry["rate"], "rate", work)

    def memory(self, key: str, entry: dict[str, Any]) -> None:
        self.part("memory", key, entry, MEMORY)

    def link(self, key: str, entry: dict[str, Any]) -> None:
        self.part("link", key, entry, LINK)

    def part(self, section: str, key: str, entry: dict[str, Any], measures: dict[str, str]) -> None:
        """A memory level or a link."""
        self.known(key, entry, ("name", "technology", *measures), ("name",))
        name = self.name(f"{key}.name", entry["name"])
        if (section, name) in self.sheet.technologies:
            self.wrong(f"{key}.name", f"{name!r} is there already")
        technology = self.name(f"{key}.technology", entry["technology"]) if "technology" in entry else ""
        self.sheet.technologies[(section, name)] = technology
        rest = {field: value for field, value in entry.items() if field in measures}
        self.fields((section, name), key, rest, measures)

    def energy(self, key: str, entry: dict[str, Any]) -> None:
        self.known(key, entry, ("kind", "dtype", "price"), ("kind", "dtype", "price"))
        kind = self.choice(f"{key}.kind", entry["kind"], WORKS)
        dtype = self.choice(f"{key}.dtype", entry["dtype"], DTYPES if kind == "mac" else (*DTYPES, "*"))
        self.put(("energy", kind, dtype), f"{key}.price", entry["price"], "mac" if kind == "mac" else "operation")

    def power(self, entry: dict[str, Any]) -> None:
        self.known("power", entry, (*POWER, "package"))
        for index, point in enumerate(self.array("power.package", entry.get("package", []))):
            key = f"power.package[{index}]"
            self.known(key, self.table(key, point), ("cores", "power"), ("cores", "power"))
            cores = self.count(f"{key}.cores", point["cores"])
            self.put(("power", "cores", cores), f"{key}.power", point["power"], "power")
        self.fields(("power",), "power", {name: value for name, value in entry.items() if name != "package"}, POWER)

    def fit(self, key: str, entry: dict[str, Any]) -> None:
        texts = ("name", "dtype", "scope")
        self.known(key, entry, (*texts, *FIT), (*texts, "mac", "byte", "constant"))
        name = self.text(f"{key}.name", entry["name"])
        dtype = self.choice(f"{key}.dtype", entry["dtype"], DTYPES)
        scope = self.choice(f"{key}.scope", entry["scope"], SCOPES)
        rest = {field: value for field, value in entry.items() if field in FIT}
        self.fields(("fit", name, dtype, scope), key, rest, FIT)

    def fields(self, where: Key, key: str, table: dict[str, Any], measures: dict[str, str]) -> None:
        self.known(key, table, measures)
        for name, value in table.items():
            self.put((*where, name), f"{key}.{name}", value, measures[name])

    def put(self, where: Key, key: str, value: object, measure: str, work: str = "") -> None:
        """Read one number."""
        if where in self.sheet.numbers:
            hint = " (for a peak of sparse operands, write sparse = true)" if where[0] == "peak" else ""
            self.wrong(key, f"is there already: {'.'.join(str(part) for part in where)}{hint}")
        if not isinstance(value, dict):
            self.wrong(key, f"a number is a table {{ typical, unit, source, confidence }}, and not {value!r}")
        units = [unit for unit in MEASURES[measure] if not work or unit.removesuffix(work) in ("", *"MGTP")]
        for name, allowed in (("unit", units), ("confidence", CONFIDENCES)):
            if name not in value:
                self.wrong(
                    f"{key}.{name}", f"is missing; {', '.join(allowed)} {'are' if len(allowed) > 1 else 'is'} allowed"
                )
        self.known(key, value, QUANTITY, ("typical", "source"))
        unit = self.choice(f"{key}.unit", value["unit"], units)
        low, typical, high = (
            self.number(f"{key}.{at if at in value else 'typical'}", value.get(at, value["typical"]), measure)
            for at in ("low", "typical", "high")
        )
        if not low <= typical <= high:
            self.wrong(key, f"low <= typical <= high does not hold of {low:g}, {typical:g}, {high:g}")
        source = self.text(f"{key}.source", value["source"])
        if source not in self.sources:
            listed = ", ".join(self.sources) or "none"
            self.wrong(f"{key}.source", f"{source!r} is not one of [sources], which has {listed}")
        self.cited.add(source)
        quantity = Quantity(
            low,
            typical,
            high,
            unit,
            self.sources[source],
            cast(Confidence, self.choice(f"{key}.confidence", value["confidence"], CONFIDENCES)),
            "stated",
            self.sheet.name,
            self.text(f"{key}.note", value["note"]) if "note" in value else "",
        )
        per = {"mac": "pJ/MAC", "operation": "pJ/op", "byte": "pJ/B"}.get(measure)
        self.sheet.numbers[where] = quantity.to(per) if per else quantity

    def number(self, key: str, value: object, measure: str) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            self.wrong(key, f"must be a finite number, and not {value!r}")
        if value < 0 or (value == 0 and measure in POSITIVE):
            self.wrong(
                key, f"{value:g} is not allowed: it must be {'more than 0' if measure in POSITIVE else '0 or more'}"
            )
        if measure == "ratio" and value > 1:
            self.wrong(key, f"{value:g} is not allowed: it is a share, 1 at most")
        return float(value)

    def check_sparse(self) -> None:
        """A sparse peak is more than the dense one; where the two are one number, one of the flags is wrong."""
        for where, dense in self.sheet.numbers.items():
            if where[0] != "peak" or where[3]:
                continue
            sparse = self.sheet.numbers.get((*where[:3], True))
            if sparse is not None and sparse.si.typical <= dense.si.typical:
                self.wrong(
                    f"peak.{where[1]}.{where[2]}",
                    f"its sparse peak, {sparse}, is not above its dense one, {dense}: is one of the flags wrong?",
                )


assert set(MEMORY.values()) | set(LINK.values()) | set(TOP.values()) <= set(BASES)
