"""Estimates against published measurements: each row's workload is rebuilt, estimated and compared.

    python benchmarks/validate_energy.py                        # the rows in benchmarks/data
    python benchmarks/validate_energy.py --data FILE --by model # any file of the same columns; errors by chip and model
    python benchmarks/validate_energy.py --write docs/estimates.md    # its table, between two marks; --check compares

Constants are fitted by cross-validation, one model or one chip left out: never on what is scored. Counts of the
workloads are in benchmarks/data/energy_workloads.csv, which energy_workloads.py writes; energy_rows.py says what is
assumed.

Columns: the median and the mean of the absolute errors, their mean with its sign, the share of rows that are in the
90 % interval of the tables' ranges, and that share when intervals are widened by what the errors of the other models
ask for, which is what a calibration writes. All in percent.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import energy_rows
import numpy as np
from energy_rows import GPUS, GRID, Prompts, Row

from macsim.calibrate_fit import Case, Fitted, fit, leave_out, widening
from macsim.estimate_loads import machine_of
from macsim.estimate_physics import Machine, Range, Spread

HERE = Path(__file__).resolve().parent


@dataclass
class Score:
    """Estimates of a set beside what was measured, and beside rules of thumb."""

    name: str
    target: str
    rows: list[Row]
    groups: list[str]
    truths: list[float]
    ranges: list[Range]
    rivals: dict[str, list[float]] = field(default_factory=dict)

    @property
    def errors(self) -> np.ndarray:
        return np.array([found.typical / truth - 1 for found, truth in zip(self.ranges, self.truths, strict=True)])

    def __add__(self, other: Score) -> Score:
        rivals = {name: values + other.rivals[name] for name, values in self.rivals.items() if name in other.rivals}
        parts = (getattr(self, name) + getattr(other, name) for name in ("rows", "groups", "truths", "ranges"))
        return Score(self.name.rpartition(":")[0] or self.name, self.target, *parts, rivals)

    def covered(self) -> float:
        return float(np.mean([f.low <= t <= f.high for f, t in zip(self.ranges, self.truths, strict=True)]))

    def calibrated(self) -> float:
        """Share of truths in the intervals, each widened by what the other groups' errors ask for."""
        hits = 0
        for group in dict.fromkeys(self.groups):
            others = [at for at, other in enumerate(self.groups) if other != group] or list(range(len(self.groups)))
            known = [self.ranges[at] for at in others]
            factor = widening(np.array(self.truths)[others], known, [self.groups[at] for at in others])
            for at in (at for at, other in enumerate(self.groups) if other == group):
                low, typical, high = self.ranges[at]
                hits += typical * (low / typical) ** factor <= self.truths[at] <= typical * (high / typical) ** factor
        return hits / len(self.groups)

    def line(self) -> list[str]:
        errors = self.errors
        sizes = np.abs(errors)
        numbers = (np.median(sizes), sizes.mean(), errors.mean(), self.covered(), self.calibrated())
        texts = [
            f"{100 * number:{form}}" for number, form in zip(numbers, (".1f", ".1f", "+.1f", ".0f", ".0f"), strict=True)
        ]
        rivals = [f"{name} {100 * off(values, self.truths):.0f}" for name, values in self.rivals.items()]
        return [self.name, str(len(errors)), *texts, self.target, verdict(self.target, sizes), ", ".join(rivals)]


def off(values: Sequence[float], truths: Sequence[float]) -> float:
    return float(np.mean(np.abs(np.array(values) / np.array(truths) - 1)))


def verdict(target: str, sizes: np.ndarray) -> str:
    """Whether a target such as ``8 mean`` is reached, or by how much it is missed."""
    if not target:
        return ""
    limit, _, what = target.partition(" ")
    reached = 100 * (np.median(sizes) if what == "median" else sizes.mean())
    return "yes" if reached <= float(limit) else f"by {reached - float(limit):.1f}"


MARKS = "<!-- printed by benchmarks/validate_energy.py -->", "<!-- until here -->"
NUMBER = r"[-+]?\d+(?:\.\d+)?"
HEADS = ["set", "rows", "median", "mean", "bias", "in 90 %", "calibrated", "to reach", "reached", "rivals (mean)"]


def table(scores: Sequence[Score]) -> None:
    lines = [HEADS, *(score.line() for score in scores)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADS))]
    for line in lines:
        cells = [
            cell.ljust(w) if i in (0, 9) else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def markdown(scores: Sequence[Score], rest: Mapping[str, int]) -> str:
    """Return the tables that docs/estimates.md has."""
    rule = ["---" if i in (0, 9) else "---:" for i in range(len(HEADS))]
    lines = [HEADS, rule, *(score.line() for score in scores)]
    more = [["rows that are not scored", "why"], ["---:", "---"], *([str(n), why] for why, n in rest.items())]
    tables = ("\n".join(f"| {' | '.join(line)} |" for line in lines) for lines in (lines, more))
    return "\n\n".join(tables)


def between_marks(text: str, path: Path) -> tuple[str, str, str]:
    """Return what is before, between and after the marks in a page."""
    before, first, rest = text.partition(MARKS[0])
    inside, last, after = rest.partition(MARKS[1])
    if not first or not last:
        raise SystemExit(f"{path}: there are no marks {MARKS[0]} and {MARKS[1]}")
    return before + first + "\n\n", inside.strip(), "\n\n" + last + after


def stale(page: str, now: str) -> list[str]:
    """Return the lines that a page has not, or has with other numbers: those of other computers differ a little."""
    there = page.splitlines()
    return [line for line in now.splitlines() if not any(alike(line, one) for one in there)]


def alike(one: str, other: str) -> bool:
    """Whether two lines say the same, but for two units of the last digit of a number with a fraction or in percent."""
    if re.sub(NUMBER, "#", one) != re.sub(NUMBER, "#", other):
        return False
    pairs = zip(re.findall(NUMBER, one), re.findall(NUMBER, other), strict=True)
    return all(abs(float(a) - float(b)) < (0.25 if "." in a else 2.5) for a, b in pairs)


def parts_of(score: Score, key: Callable[[Row], str]) -> None:
    parts: dict[str, list[float]] = defaultdict(list)
    for row, error in zip(score.rows, score.errors, strict=True):
        parts[key(row)].append(float(error))
    print(f"\n{score.name}")
    for name, errors in sorted(parts.items()):
        sizes = np.abs(errors)
        numbers = (
            f"median {100 * np.median(sizes):6.1f}  mean {100 * sizes.mean():6.1f}  bias {100 * np.mean(errors):+7.1f}"
        )
        print(f"  {name:70} {len(errors):4}  {numbers}")


# Machines -------------------------------------------------------------------------------------------------------------


def unfitted(name: str) -> Machine:
    """Return a GPU without anything that was fitted to these rows: rules and technologies in its place.

    What a product costs follows from the chip's own datasheet: at the 0.7 of the peak that the best products reach, a
    chip draws what its limit leaves above static power.
    """
    machine, _ = machine_of(name)
    tdp = machine.values["power.tdp"].typical
    rate = machine.values["peak.tensor.bf16"].typical / 2
    closed = (1 - 0.24) * tdp / (0.7 * rate)
    price = Spread(0.6 * closed, closed, 2 * closed)
    values = dict(machine.values)
    values |= {"energy.mac.bf16": price, "energy.mac.f16": price, "energy.mac.f8": price.scaled(0.55)}
    values |= {"energy.mac.i8": price.scaled(0.5), "memory.dram.path": Spread(95e-12, 110e-12, 130e-12)}
    values |= {"power.static": Spread(0.17 * tdp, 0.24 * tdp, 0.30 * tdp)}
    values |= {"efficiency.compute": Spread(0.5, 0.7, 0.85), "efficiency.memory": Spread(0.7, 0.8, 0.92)}
    return replace(machine, values=values)


def naive(case: Case) -> dict[str, float]:
    """Joules by rules of thumb: FLOPs x TDP / peak, and TDP x the time of an ideal roofline."""
    machine = case.machine
    tdp = (machine.get("power.tdp") or machine.values["power.active"]).typical
    flops = 2 * sum(macs.sum() for macs in case.loads.work.values())
    _, peak = machine.peak("mac", next(iter(case.loads.work))[1])
    ideal = max(flops / peak.typical, case.loads.bytes.sum() / machine.values["memory.dram.bandwidth"].typical)
    return {"FLOPs x TDP/peak": flops * tdp / peak.typical, "TDP x roofline": tdp * ideal}


def constants(found: Fitted) -> str:
    """Say in words what was fitted."""
    values = found.on().values
    price = next(spread for name, spread in values.items() if name.startswith("energy.mac."))
    waits = ", ".join(f"{name} {1e6 * seconds:.3g} us" for name, seconds in found.waits.items())
    words = [
        f"{values['efficiency.compute'].typical:.2f} of the peak",
        f"{values['efficiency.memory'].typical:.2f} of the bandwidth",
        f"{1e6 * values['launch.overhead'].typical:.3g} us for a launch",
        f"{1e12 * price.typical:.3g} pJ/MAC",
        f"{1e12 * values['memory.dram.path'].typical:.3g} pJ/B",
        f"{values['power.static'].typical:.3g} W static",
    ]
    return "; ".join(
        words + ([f"host {found.host:.0f} W"] if found.host else []) + ([f"waits: {waits}"] if waits else [])
    )


# Sets -----------------------------------------------------------------------------------------------------------------


def is_serving(row: Row) -> bool:
    return row["source"].startswith("ML.ENERGY") and row["unit"] == "output token"


def is_dense(row: Row) -> bool:
    """Whether a row is of a model without experts, in bf16, on one GPU."""
    mixtures = r"A3B|A22B|Scout|Maverick|gpt-oss|DeepSeek|A35B"
    return row["n_devices"] == "1" and row["precision"] == "bfloat16" and not re.search(mixtures, row["task_model"])


def energy_score(name: str, target: str, rows: list[Row], cases: list[Case], found: list[Fitted]) -> Score:
    """Score joules of a unit, with the time predicted, too."""
    units = [float(row["J_per_unit"]) / case.joules for row, case in zip(rows, cases, strict=True)]
    rivals = [naive(case) for case in cases]
    return Score(
        name,
        target,
        rows,
        [case.group for case in cases],
        [float(row["J_per_unit"]) for row in rows],
        [fitted.joules(case).scaled(unit) for fitted, case, unit in zip(found, cases, units, strict=True)],
        {rule: [r[rule] * unit for r, unit in zip(rivals, units, strict=True)] for rule in rivals[0]},
    )


def chosen(rows: list[Row], machines: dict[str, Machine]) -> dict[str, tuple[Prompts, dict[str, Fitted]]]:
    """Return for each model, and for none (""), the assumption that fits best without it, and the fits."""
    best: dict[str, tuple[float, Prompts, dict[str, Fitted]]] = {}
    for assumed in GRID:
        all_of, without = {}, {}
        for hardware, machine in machines.items():
            cases = [energy_rows.serving(row, machine, assumed) for row in rows if row["hardware"] == hardware]
            all_of[hardware] = fit(machine, cases)
            apart = leave_out(machine, cases)
            without[hardware] = {case.group: found for case, found in zip(cases, apart, strict=True)}
        for model in {"": None} | {energy_rows.model_of(row): None for row in rows}:
            fits = {hardware: without[hardware].get(model, all_of[hardware]) for hardware in machines}
            cost = sum(found.cost for found in fits.values())
            if model not in best or cost < best[model][0]:
                best[model] = cost, assumed, fits
    return {model: (assumed, fits) for model, (_, assumed, fits) in best.items()}


def dense_serving(data: list[Row]) -> list[Score]:
    """Dense language models on one GPU: a model left out, then a chip."""
    rows = [row for row in data if is_serving(row) and is_dense(row)]
    models = {hardware: {energy_rows.model_of(row) for row in rows if row["hardware"] == hardware} for hardware in GPUS}
    machines = {hardware: unfitted(chip) for hardware, chip in GPUS.items() if len(models[hardware]) > 1}
    without = chosen(rows, machines)
    scores: dict[str, list[Score]] = defaultdict(list)
    for hardware, chip in ((hardware, GPUS[hardware]) for hardware in machines):
        mine = [row for row in rows if row["hardware"] == hardware]
        picks = [without[energy_rows.model_of(row)] for row in mine]
        cases = [energy_rows.serving(row, machines[hardware], pick[0]) for row, pick in zip(mine, picks, strict=True)]
        found = [pick[1][hardware] for pick in picks]
        groups = [case.group for case in cases]
        watts = [case.joules / case.seconds for case in cases]
        mean = [np.mean([w for w, g in zip(watts, groups, strict=True) if g != case.group]) for case in cases]
        powers = [f.joules(c, given_time=True).scaled(1 / c.seconds) for f, c in zip(found, cases, strict=True)]
        name = f"ML.ENERGY, dense bf16, 1 GPU, power with time given: {chip}"
        scores["power"].append(Score(name, "8 mean", mine, groups, watts, powers, {"constant power": mean}))
        name = f"ML.ENERGY, dense bf16, 1 GPU, J per token: {chip}"
        scores["joules"].append(energy_score(name, "20 mean", mine, cases, found))
        name = f"ML.ENERGY, dense bf16, 1 GPU, time of a step: {chip}"
        times = [f.seconds(c) for f, c in zip(found, cases, strict=True)]
        scores["time"].append(Score(name, "", mine, groups, [case.seconds for case in cases], times))
        other = next((name for name in machines if name != hardware), None)
        if other is None:
            continue
        alone = [row for row in rows if row["hardware"] == other]
        assumed, fits = chosen(alone, {other: machines[other]})[""]
        print(f"{chip}, from {GPUS[other]}: {constants(fits[other])}")
        cases = [energy_rows.serving(row, machines[hardware], assumed) for row in mine]
        name = f"the same, constants of the other chip: {chip}"
        scores["chip"].append(energy_score(name, "25 mean", mine, cases, [fits[other]] * len(cases)))
    return [one for each in scores.values() for one in together(each)]


def together(parts: list[Score]) -> list[Score]:
    """Return scores, after that of both together where there are two."""
    return [parts[0] + parts[1], *parts] if len(parts) == 2 else parts


def can_leave_out(cases: Sequence[Case]) -> bool:
    """Whether something is left when any of the groups is left out."""
    return len({case.group for case in cases}) > 1


def other_serving(data: list[Row]) -> list[Score]:
    """Mixtures, several GPUs, pictures and videos: a model left out."""
    scores = []
    for name, wanted, make in (
        ("language: mixtures, several GPUs", lambda row: is_serving(row) and not is_dense(row), "serving"),
        (
            "pictures and videos",
            lambda row: row["source"].startswith("ML.ENERGY") and row["unit"] in ("image", "video"),
            "diffusing",
        ),
    ):
        each = []
        for hardware, chip in GPUS.items():
            machine = unfitted(chip)
            mine = [row for row in data if row["hardware"] == hardware and wanted(row)]
            given = (Prompts(),) if make == "serving" else ()
            cases = [getattr(energy_rows, make)(row, machine, *given) for row in mine]
            more = [
                row
                for row in data
                if make == "serving" and is_serving(row) and is_dense(row) and row["hardware"] == hardware
            ]
            known = cases + [energy_rows.serving(row, machine, Prompts()) for row in more]
            if not cases or not can_leave_out(known):
                continue
            found = leave_out(machine, known)[: len(cases)]
            print(f"{chip}, {name}: {constants(fit(machine, known))}")
            each.append(energy_score(f"ML.ENERGY, {name}: {chip}", "35 mean", mine, cases, found))
        scores += together(each)
    return scores


def boards(data: list[Row]) -> list[Score]:
    """Boards at the wall, one picture at a time: a network left out, for each board, runtime and dtype."""
    sets: dict[tuple[str, str, bool], list[Row]] = defaultdict(list)
    for row in data:
        if energy_rows.on_a_board(row):
            sets[row["source"], energy_rows.system(row), energy_rows.is_int8(row["task_model"])].append(row)
    total: Score | None = None
    medians = []
    by_macs = []
    for (source, name, int8), rows in sets.items():
        cases = [energy_rows.on_board(row) for row in rows]
        if not can_leave_out(cases):
            continue
        found = leave_out(cases[0].machine, cases)
        macs = np.array([sum(work.sum() for work in case.loads.work.values()) for case in cases])
        joules = np.array([case.joules for case in cases])
        groups = np.array([case.group for case in cases])
        rule = [m * np.median((joules / macs)[groups != g]) for m, g in zip(macs, groups, strict=True)]
        ranges = [f.joules(case) for f, case in zip(found, cases, strict=True)]
        title = f"MLPerf boards, wall: {source[17:21]} {name} {'int8' if int8 else 'fp32'}"
        score = Score(title, "12 median", rows, list(groups), list(joules), ranges, {"MACs alone": rule})
        medians.append(np.median(np.abs(score.errors)))
        by_macs.append(100 * off(rule, list(joules)))
        total = score if total is None else total + score
    if total is None:
        return []
    low, middle, high = (100 * float(value) for value in (min(medians), np.median(medians), max(medians)))
    print(f"{len(medians)} sets of board, runtime and dtype: medians {low:.1f} to {high:.1f}, half below {middle:.1f};")
    print(f"MACs alone {min(by_macs):.0f} to {max(by_macs):.0f}")
    return [total]


def tables_alone(data: list[Row]) -> list[Score]:
    """What tables say without any fit. Those of the two GPUs and of some boards have constants from such rows."""
    scores = []
    for hardware, chip in GPUS.items():
        machine, _ = machine_of(chip)
        mine = [row for row in data if is_serving(row) and is_dense(row) and row["hardware"] == hardware]
        cases = [energy_rows.serving(row, machine, Prompts()) for row in mine]
        plain = [Fitted(machine, {}, {}, {})] * len(cases)
        if cases:
            scores.append(energy_score(f"tables alone: dense bf16, {chip}", "", mine, cases, plain))
    mine, cases = [], []
    for row in data:
        if energy_rows.on_a_board(row):
            kind = next(k for prefix, k in energy_rows.BOARDS.items() if energy_rows.system(row).startswith(prefix))
            case = energy_rows.on_board(row)
            machine, _ = machine_of(kind)
            values = {"peak.vector.i8": machine.values["peak.vector.f32"], **machine.values}
            cases.append(replace(case, machine=replace(machine, values=values)))
            mine.append(row)
    plain = [Fitted(case.machine, {}, {}, {}) for case in cases]
    return scores + ([energy_score("tables alone: boards at the wall", "", mine, cases, plain)] if cases else [])


def is_offline_server(row: Row) -> bool:
    """Whether a row is of several GPUs in a server that has all pictures or questions at once."""
    return (
        row["hardware"] in energy_rows.SERVERS
        and row["task_model"] in energy_rows.TASKS
        and row["scenario_batch"].lower() == "offline"
        and int(row["n_devices"]) > 1
    )


def servers(data: list[Row]) -> list[Score]:
    """Servers of several GPUs at the wall, offline: a network left out, then a chip."""
    rows = [row for row in data if is_offline_server(row)]
    cases = [energy_rows.on_server(row) for row in rows]
    if not can_leave_out(cases):
        return []
    base = cases[0].machine
    print(f"servers: {constants(fit(base, cases))}")
    model = energy_score("MLPerf, several GPUs, offline, wall", "35 mean", rows, cases, leave_out(base, cases))
    chips = [replace(case, group=re.sub(r"-(40|80)gb", "", case.machine.name)) for case in cases]
    if not can_leave_out(chips):
        return [model]
    return [model, energy_score("the same, a chip left out", "35 mean", rows, chips, leave_out(base, chips))]


def accelerators(data: list[Row]) -> list[Score]:
    """The other rows of MLPerf at the wall: a network left out. What is known of servers offline is known here."""
    scores = []
    offline = [energy_rows.on_server(row) for row in data if is_offline_server(row)]
    sets: dict[str, list[Row]] = {name: [] for name in ("GPUs, other scenarios or alone", "Jetsons", "Cloud AI 100")}
    for row in data:
        if row["task_model"] in energy_rows.TASKS and not is_offline_server(row) and not energy_rows.on_a_board(row):
            kinds = (energy_rows.SERVERS, energy_rows.JETSONS)
            at = next((at for at, kind in enumerate(kinds) if row["hardware"] in kind), 2)
            if at < 2 or row["hardware"].startswith(energy_rows.CLOUD):
                list(sets.values())[at].append(row)
    for name, rows in sets.items():
        cases = [energy_rows.on_server(row) for row in rows]
        known = cases + (offline if "GPUs" in name else [])
        if not cases or not can_leave_out(known):
            continue
        found = leave_out(cases[0].machine, known)[: len(cases)]
        scores.append(energy_score(f"MLPerf, {name}, wall", "", rows, cases, found))
    return scores


def studies(data: list[Row]) -> list[Score]:
    """What tables say of studies of one sequence at a time on consumers' GPUs."""
    rows = [row for row in data if row["hardware"] in energy_rows.STUDIED]
    cases = [energy_rows.studied(row) for row in rows]
    if not cases:
        return []
    plain = [Fitted(case.machine, {}, {}, {}) for case in cases]
    return [energy_score("tables alone: one sequence, eager, RTX 4090 D and 5090", "", rows, cases, plain)]


def not_scored(data: list[Row], scores: Sequence[Score]) -> dict[str, int]:
    """Return the rows that are in no set, by why."""
    scored = {id(row) for score in scores for row in score.rows}
    rest: dict[str, int] = defaultdict(int)
    for row in data:
        if id(row) not in scored:
            rest[energy_rows.why_not(row) or "too few models beside it: none is left when one is left out"] += 1
    return dict(sorted(rest.items(), key=lambda one: -one[1]))


SETS = {
    "dense": dense_serving,
    "other": other_serving,
    "boards": boards,
    "servers": servers,
    "accelerators": accelerators,
    "tables": tables_alone,
    "studies": studies,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=HERE / "data" / "energy_measured.csv.gz", help="default: %(default)s"
    )
    parser.add_argument("--by", choices=("model",), help="errors by chip and model, too")
    parser.add_argument("--only", choices=SETS, nargs="+", default=list(SETS), help="some of the sets")
    parser.add_argument("--markdown", action="store_true", help="print the tables as docs/estimates.md has them")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables between the marks of a page")
    parser.add_argument("--check", type=Path, metavar="PAGE", help="fail unless a page has the tables")
    arguments = parser.parse_args()
    data = energy_rows.read(arguments.data)
    known = [row for row in data if not energy_rows.why_not(row)]
    scores = [score for name in arguments.only for score in SETS[name](known)]
    if not scores:
        raise SystemExit(f"{arguments.data}: none of the {len(data)} rows can be scored; {not_scored(data, [])}")
    rest = not_scored(data, scores) if arguments.only == list(SETS) else {}
    text = markdown(scores, rest)
    print()
    if arguments.markdown:
        print(text)
    else:
        table(scores)
        print("\n".join(f"{count} rows are not scored: {why}" for why, count in rest.items()))
    if arguments.by:
        for score in scores:
            parts_of(score, lambda row: f"{row['hardware']} {row['n_devices']} {row['task_model']}")
    if arguments.write:
        before, _, after = between_marks(arguments.write.read_text(encoding="utf-8"), arguments.write)
        arguments.write.write_text(before + text + after, encoding="utf-8", newline="\n")
    if arguments.check:
        page = between_marks(arguments.check.read_text(encoding="utf-8"), arguments.check)[1]
        if old := stale(page, text):
            raise SystemExit("\n".join([f"{arguments.check} is stale: run with --write. It should say", *old]))


if __name__ == "__main__":
    main()
