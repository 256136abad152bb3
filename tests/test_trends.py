# The study of compute and energy over the years: its tables, its steps, and what a reconstruction has to give.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
import csv
import datetime
import io
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from macsim import trends
from macsim.trends.charts import charts
from macsim.trends.recount import CHIPS, Comparison, compare, recount
from macsim.trends.report import markdown, write_report

DATA, LATER = trends.load(), trends.load(later=True)
JOULES = {domain: trends.energy_of(DATA, domain) for domain in ("vision", "language")}
LINES = {domain: trends.efficiency_line(DATA, domain) for domain in JOULES}
COMPUTE = trends.lines(DATA.of("vision"))
ENERGY = trends.lines(DATA.of("vision"), JOULES["vision"])
START, END = "2012-06-01", 2021.5  # AlexNet, and the middle of the last year


# What the figures of the paper show (readings), and what its quantities give when its steps are followed. -------------


@pytest.mark.parametrize(
    ("line", "start", "end", "per_year", "r2", "read_start", "read_end"),
    [
        # Readings bracket the value; the third digits are those of an independent computation from the same rows.
        (COMPUTE.all, 1.7, 55, 1.47, 0.14, (1, 2), (50, 60)),
        (COMPUTE.best, 1.4, 3344, 2.35, 0.93, (1, 2), (1000, 3500)),
        (ENERGY.all, 0.12, 0.36, 1.13, 0.02, (0.05, 0.2), (0.25, 0.4)),
        (ENERGY.best, 0.10, 22, 1.80, 0.86, (0.05, 0.105), (15, 25)),
    ],
    ids=["GFLOPs, all", "GFLOPs, best of the year", "joules, all", "joules, best of the year"],
)
def test_lines_of_vision(
    line: trends.LogLine,
    start: float,
    end: float,
    per_year: float,
    r2: float,
    read_start: tuple[float, float],
    read_end: tuple[float, float],
) -> None:
    assert line.at(START) == pytest.approx(start, rel=0.03)
    assert line.at(END) == pytest.approx(end, rel=0.02)
    assert line.per_year == pytest.approx(per_year, abs=0.005)
    assert line.r2 == pytest.approx(r2, abs=0.005)
    assert read_start[0] <= line.at(START) <= read_start[1]
    assert read_end[0] <= line.at(END) <= read_end[1]


@pytest.mark.parametrize(
    ("model", "low", "high", "recomputed"),
    [
        ("AlexNet", 0.095, 0.105, 0.101),
        ("BERT-Large", 0.9, 1.1, 0.96),
        ("BERT-Base", 0.3, 0.4, 0.35),
        ("ELECTRA-Large", 0.6, 0.7, 0.63),
        ("ELECTRA-Base", 0.2, 0.3, 0.23),
        ("Theseus 6/768", 0.09, 0.10, 0.094),
        ("MobileBERT tiny", 0.02, 0.04, 0.025),
        ("GPT-2", 35, 45, 37),
        ("ALBERT-xxl", 15, 25, 23),
        ("Megatron", 150, 250, 167),
        ("Microsoft T-NLG", 250, 350, 298),
        ("GPT-3", 5500, 8500, 5639),
    ],
)
def test_joules_of_models(model: str, low: float, high: float, recomputed: float) -> None:
    row = DATA.model(model)
    joules = JOULES[row.domain](row)
    assert low <= joules <= high
    assert joules == pytest.approx(recomputed, rel=0.02)


def test_efficiency_of_vision() -> None:
    line = LINES["vision"]
    assert line.at(2011) == pytest.approx(9.7, rel=0.01)  # the figure: 7 to 8
    assert line.at(2021) == pytest.approx(135, rel=0.01)  # the figure: about 100
    assert line.per_year == pytest.approx(1.30, abs=0.005)
    assert line.doubling == pytest.approx(2.6, abs=0.05)
    assert line.r2 == pytest.approx(0.80, abs=0.006)


def test_efficiency_of_language() -> None:
    line = LINES["language"]
    assert line.at("2018-10-11") == pytest.approx(83, rel=0.01)  # the figure: 79
    assert line.at("2020-03-23") == pytest.approx(125, rel=0.01)  # the figure: about 120
    assert line.doubling == pytest.approx(2.5, abs=0.06)
    assert line.r2 == pytest.approx(0.83, abs=0.005)


@pytest.mark.parametrize(
    ("chip", "precision", "domain", "gain"),
    [
        ("V100", "Mixed", "vision", 2.26),
        ("A100", "TF32", "vision", 1.75),
        ("T4", "Mixed", "vision", 2.70),
        ("V100", "Mixed", "language", 2.64),
    ],
)
def test_gains_from_throughputs(chip: str, precision: str, domain: str, gain: float) -> None:
    found = trends.speed_up(DATA, chip, precision, domain)
    assert found.gain == pytest.approx(gain, abs=0.005)
    assert found.gain == pytest.approx(np.mean(found.gains))


def test_every_theoretical_efficiency_is_the_one_of_the_table() -> None:
    listed = {(row["gpu"], row["precision"]): row["gflops_per_watt"] for row in chips_as_listed()}
    assert len(listed) == 47
    for chip in DATA.chips:
        assert trends.theoretical_efficiency(chip) == pytest.approx(listed[chip.name, chip.precision], abs=0.006)


def chips_as_listed() -> list[dict]:
    from importlib import resources

    from macsim.trends.tables import CHIPS, read_rows

    text = (resources.files("macsim.trends") / "data/chips.csv").read_text(encoding="utf-8")
    return [row for row, _ in read_rows(io.StringIO(text), CHIPS)]


# Fits -----------------------------------------------------------------------------------------------------------------


def test_a_fit_is_that_of_least_squares() -> None:
    random = np.random.default_rng(1)
    dates = random.uniform(2010, 2022, 40)
    values = 10 ** (0.2 * (dates - 2016) + random.normal(0, 0.3, 40))
    line = trends.fit(dates.tolist(), values.tolist())
    slope, level = np.polyfit(dates - 2016, np.log10(values), 1)
    assert line.slope == pytest.approx(slope)
    assert math.log10(line.at(2016)) == pytest.approx(level)
    assert line.r2 == pytest.approx(np.corrcoef(dates, np.log10(values))[0, 1] ** 2)
    assert line.doubling == pytest.approx(math.log10(2) / slope)
    # The variance of a prediction by the matrix of normal equations, and t(0.975, 38) = 2.0244 of printed tables.
    design = np.stack([np.ones(40), dates - 2016], 1)
    left = np.log10(values) - design @ [level, slope]
    at = np.array([1.0, 4.0])
    deviation = math.sqrt(left @ left / 38 * (at @ np.linalg.inv(design.T @ design) @ at))
    low, high = line.band(2020)
    assert math.log10(high / line.at(2020)) == pytest.approx(2.0244 * deviation, rel=1e-4)
    assert math.log10(line.at(2020) / low) == pytest.approx(2.0244 * deviation, rel=1e-4)
    wider = math.sqrt(left @ left / 38 + deviation**2)
    assert math.log10(line.band(2020, of="row")[1] / line.at(2020)) == pytest.approx(2.0244 * wider, rel=1e-4)


@pytest.mark.parametrize(
    ("freedom", "probability", "quantile"),  # printed tables
    [(1, 0.975, 12.706), (2, 0.975, 4.3027), (5, 0.95, 2.0150), (30, 0.995, 2.7500), (1000, 0.975, 1.9623)],
)
def test_quantiles_of_students_distribution(freedom: int, probability: float, quantile: float) -> None:
    from macsim.trends.fits import student_quantile

    assert student_quantile(probability, freedom) == pytest.approx(quantile, rel=2e-4)


def test_bands_hold_what_they_say() -> None:
    """Of 400 lines drawn around a known one, 95 % bands hold it about 380 times."""
    random = np.random.default_rng(0)
    dates = np.linspace(2012, 2021, 12)
    held = 0
    for _ in range(400):
        line = trends.fit(dates.tolist(), (10 ** (0.1 * (dates - 2012) + random.normal(0, 0.2, 12))).tolist())
        low, high = line.band(2020)
        held += low <= 10**0.8 <= high
    assert 366 <= held <= 394  # 3 standard deviations


def test_bootstrap() -> None:
    rows = DATA.of("vision")
    dates, values = [row.date for row in rows], [row.gflops for row in rows]
    drawn = trends.bootstrap(dates, values, draws=300)
    low, median, high = drawn.per_year
    assert low < median < high
    assert median == pytest.approx(COMPUTE.all.per_year, rel=0.05)
    # Of independent rows the bootstrap's interval is about that of the formula.
    assert high / low == pytest.approx(COMPUTE.all.slope_band()[1] / COMPUTE.all.slope_band()[0], rel=0.25)
    families = trends.bootstrap(dates, values, [row.date for row in rows], draws=300)
    assert families.per_year[2] / families.per_year[0] > high / low  # a date's rows are alike
    assert trends.bootstrap(dates, values, draws=300) == drawn
    assert trends.bootstrap([2012, 2013, 2014], [1, 2, 1], draws=200).doubling[2] == math.inf


def test_what_cannot_be_fitted() -> None:
    with pytest.raises(ValueError, match="two dates"):
        trends.fit([2012, 2012], [1, 2])
    with pytest.raises(ValueError, match="above 0"):
        trends.fit([2012, 2013], [1, 0])
    assert all(map(math.isnan, trends.fit([2012, 2013], [1, 2]).band(2012)))


def test_dates() -> None:
    assert trends.year_of("2020-12-31") == pytest.approx(2020 + 365 / 366)
    assert trends.year_of("2019-01") == 2019.0


def test_forecast_multiplies() -> None:
    line = trends.fit([2020, 2021, 2022], [1, 2, 4])
    ahead = trends.forecast(line, 2024, inferences=86_400, persons=10)
    assert ahead.joules == pytest.approx(16)
    assert ahead.per_person == pytest.approx(16)  # one inference a second
    assert ahead.watts == pytest.approx(160)
    assert (ahead.of_internal, ahead.of_external) == pytest.approx((0.16, 0.0016))


# Tables ---------------------------------------------------------------------------------------------------------------


def test_every_row_says_where_it_comes_from() -> None:
    for row in (*DATA.models, *DATA.chips, *DATA.throughputs):
        assert row.basis
        assert row.origin
        assert row.confidence in ("high", "medium", "low")
    assert not any(row.is_of_paper for row in DATA.models if row.domain == "vision")
    assert sum(row.is_of_paper for row in DATA.models) == 9


HEAD = "model,date,top1,gflops\n"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (HEAD + "A,2020-02-30,80,1\n", "row 2, column 'date': '2020-02-30' is not a date; write YYYY-MM-DD"),
        (HEAD + "A,2020-01-01,80,1\n\nB,2020-01-01,101,1\n", "row 4, column 'top1': '101' is not allowed"),
        (HEAD + "A,2020-01-01,80,-1\n", "row 2, column 'gflops': '-1' is not allowed; write a number above 0"),
        (HEAD + "A,2020-01-01,80,nan\n", "row 2, column 'gflops': 'nan' is not allowed"),
        (HEAD + "A,2020-01-01,80,\n", "row 2, column 'gflops': it is empty"),
        (HEAD + "A,2020-01-01,80\n", "row 2: 3 cells under 4 columns"),
        ("model,date,top1\n", "row 1: the column 'gflops' is missing"),
        ("model,date,top1,gflops,flops\n", "row 1, column 'flops': there is no such column; there are model, date"),
        (
            "model,date,top1,gflops,confidence\nA,2020-01-01,80,1,sure\n",
            "row 2, column 'confidence': 'sure' is not allowed; one of high, medium, low",
        ),
    ],
)
def test_what_does_not_fit_is_named(table: str, message: str, tmp_path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(table, encoding="utf-8")
    with pytest.raises(trends.TableError) as error:
        DATA.extended(vision=path)
    assert str(error.value).startswith(f"{path}, {message}")


def test_rows_of_ones_own() -> None:
    table = io.StringIO("model,date,top1,gflops\nAlexNet,2012-06-01,57,1.5\nMine,2024-01-01,85,8\n")
    more = DATA.extended(vision=table)
    assert len(more.models) == len(DATA.models) + 1
    assert more.model("AlexNet").gflops == 1.5
    assert more.model("Mine").origin == "<table>:3"
    assert [row.name for row in more.models if row.given] == ["AlexNet", "Mine"]
    notes = {chart.key: chart.note for chart in charts(more)}
    assert (
        "; 2 given in a table of the user's. Lines through the 96 of the study and the 1 given" in notes["gflops-date"]
    )
    assert more.model("Mine").is_later  # in none of the lines
    assert not more.model("AlexNet").is_later
    chips = io.StringIO("gpu,precision,tflops,watts,launch_date\nNew,FP32,100,500,2025-01-01\n")
    assert trends.efficiency_line(DATA.extended(chips=chips), "vision").points == LINES["vision"].points + 1


def test_names_that_are_not_there() -> None:
    with pytest.raises(trends.TableError.__mro__[1], match="'AlexNett'; the nearest: AlexNet"):
        DATA.model("AlexNett")
    with pytest.raises(ValueError, match="no domain 'audio'"):
        DATA.of("audio")


# Recomputed -----------------------------------------------------------------------------------------------------------

BESIDE = compare(DATA)


def test_vision_agrees_with_the_second_source() -> None:
    pairs = [one for one in BESIDE if one.row.domain == "vision" and one.independent]
    near = [one for one in pairs if abs(one.independent - 1) <= 0.03]
    assert len(near) >= 65  # 69 with the CoAtNets of the second source
    assert len({(one.count.architecture, one.count.size) for one in near}) >= 56  # networks that differ
    assert all(0.9 < one.independent < 1.02 for one in pairs)


def test_vision_agrees_with_what_is_published() -> None:
    vision = [one for one in BESIDE if one.row.domain == "vision"]
    assert len(vision) == 115
    assert sum(abs(one.ratio - 1) <= 0.03 for one in vision) >= 99


def test_language_agrees_but_where_lookups_are_counted_as_products() -> None:
    language = {one.row.name: one for one in BESIDE if one.row.domain == "language"}
    assert len(language) == 19
    dense = {"GPT-1", "BERT-Base", "BERT-Small", "ELECTRA-Base", "ELECTRA-Small"}
    words = {"GPT-1": 40000}
    for name, one in language.items():
        if name not in dense:
            assert one.ratio == pytest.approx(1, abs=0.03), name
            continue
        width = 128 if "Small" in name else 768
        lookup = 2 * 128 * words.get(name, 30522) * width / 1e9
        assert (one.count.gflops + lookup) / one.row.gflops == pytest.approx(1, abs=0.03), name


@pytest.mark.parametrize("one", BESIDE, ids=[one.row.name for one in BESIDE])
def test_a_difference_has_its_cause(one: Comparison) -> None:
    far = any(abs(ratio - 1) > 0.03 for ratio in (one.ratio, one.independent) if ratio)
    assert far == bool(one.cause)
    assert "not explained" not in one.cause


def test_what_is_not_counted_says_why() -> None:
    missing = {row.name for row in DATA.models if DATA.count(row.name) is None}
    assert missing == {"MnasNet-A3"}
    assert missing <= DATA.causes.keys()
    assert DATA.causes.keys() <= missing | {one.row.name for one in BESIDE if one.cause}


def test_models_after_the_study_agree_with_what_is_published() -> None:
    rows = [row for row in LATER.models if row.is_counted and row.independent]
    assert len(rows) >= 11
    for row in rows:
        assert row.gflops == pytest.approx(row.independent, rel=0.03), row.name


def test_parameters_are_those_that_are_published() -> None:
    """The definitions are the networks of their names: 3 % of parameters where these are stated to that."""
    rows = {row.name: row for row in trends.load(later=True).models}
    loose = {"Inception V1 / GoogLeNet", "MobileNetV2", "MobileNetV2 1.4"}
    loose |= {"DeiT-Ti", "ALBERT-xxl", "GPT-2", "MobileBERT", "BERT-Small", "ELECTRA-Small"}  # one digit; heads
    for count in DATA.counts:
        row = rows[count.name]
        if row.params and count.name not in loose:
            assert count.parameters / 1e6 == pytest.approx(row.params, rel=0.031), count.name


QUICK = ["AlexNet", "ResNet-50", "MobileNetV2", "EfficientNet-B0", "DeiT-Ti", "ELMo", "BERT-Small", "SqueezeBERT"]


@pytest.mark.parametrize("name", QUICK)
def test_the_stored_count_is_what_is_counted(name: str) -> None:
    """And what torch's own counter makes of the same module, except where that has no formula."""
    [count] = recount([DATA.model(name)])
    stored = DATA.count(name)
    assert stored is not None
    assert (count.macs, count.parameters, count.architecture) == (stored.macs, stored.parameters, stored.architecture)
    assert (count.energy is None) == (stored.energy is None)
    if count.energy and stored.energy:  # where constants of a chip are measured anew, so are these: --recount
        assert (count.energy.chip, count.energy.devices) == (stored.energy.chip, stored.energy.devices)
        for part in ("joules", "low", "high"):
            assert getattr(stored.energy, part) == pytest.approx(getattr(count.energy, part), rel=0.05), part
    if name == "ELMo":
        return  # the counter knows no LSTM
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from macsim.trends.architectures.registry import DEFINITIONS

    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model = DEFINITIONS[name].make().eval()
        words = DEFINITIONS[name].takes_tokens
        model(torch.zeros(1, count.size, dtype=torch.int64) if words else torch.zeros(1, 3, count.size, count.size))
    assert counter.get_total_flops() == 2 * count.macs


def test_every_model_after_the_study_has_its_energy_by_both_methods() -> None:
    """On the newest chip of its time, whose memory holds the weights; the estimator's interval holds its value."""
    import macsim

    launched = {name: macsim.hardware(name).launch or "" for name in CHIPS}
    line = {domain: trends.energy_of(LATER, domain) for domain in JOULES}
    for row in LATER.models:
        count = LATER.count(row.name)
        energy = count.energy if count else None
        there = [name for name in CHIPS if launched[name] <= row.date.isoformat()]
        assert (energy is not None) == (bool(there) and count is not None), row.name
        if energy is None:
            assert row.date.isoformat() < launched["k80"] or not count
            continue
        assert energy.chip == max(there, key=launched.__getitem__)
        memory = macsim.hardware(energy.chip).memory()
        assert count
        assert memory
        weights = count.parameters * (4 if energy.dtype == "f32" else 2)
        assert weights <= energy.devices * memory.capacity.si.typical <= max(2.3 * weights, memory.capacity.si.typical)
        assert energy.low < energy.joules < energy.high
        assert 0.02 < energy.joules / line[row.domain](row) < 100  # of one order, over ten decades


def test_an_estimate_is_that_of_the_report() -> None:
    """DenseNet is of 2016: the P100, which has no tensor units, so that floats have 32 bits."""
    import torch

    import macsim
    from macsim.trends.architectures.registry import DEFINITIONS

    [count] = recount([DATA.model("DenseNet-121")])
    with torch.device("meta"):
        model, image = DEFINITIONS["DenseNet-121"].make().eval(), torch.zeros(1, 3, 224, 224)
    estimate = macsim.count(model, image).estimate("p100-sxm2", dtype="f32")
    assert count.energy
    assert (count.energy.chip, count.energy.devices, count.energy.dtype) == ("p100-sxm2", 1, "f32")
    assert count.energy.joules == pytest.approx(estimate.joules.typical)


def test_an_encoder_is_that_of_transformers() -> None:
    import torch
    from transformers import BertConfig, BertModel

    import macsim
    from macsim.trends.architectures.language import encoder

    config = BertConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=256)
    with torch.device("meta"):
        ids = torch.zeros(1, 16, dtype=torch.int64)
        ours, theirs = encoder(64, 2, 2).eval(), BertModel(config).eval()
    assert macsim.count(ours, ids).macs == macsim.count(theirs, ids).macs


def test_a_decoder_is_that_of_transformers() -> None:
    """Shared key and value heads, a gate, the last token's logits."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    import macsim
    from macsim.trends.architectures.language import Config, modern

    sizes = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100}
    with torch.device("meta"):
        ids = torch.zeros(1, 16, dtype=torch.int64)
        theirs = LlamaForCausalLM(LlamaConfig(hidden_size=64, intermediate_size=96, **sizes)).eval()
        ours = modern(Config(64, 2, 4, 2, 96, 100)).eval()
    given = {"input_ids": ids, "use_cache": False, "logits_to_keep": 1}
    report = macsim.count(theirs, kwargs=given)
    rotation = sum(int(row.macs) for row in report.rows if "rotary_emb" in row.scope)  # angles, by a product
    assert macsim.count(ours, ids).macs == report.macs - rotation


# Charts, page, report, placing ----------------------------------------------------------------------------------------

MODEL = str(Path(__file__).parents[1] / "examples/resnet50.onnx")
CHARTS = charts(LATER)
JOULES_AXIS = "Joules of one inference"


def test_charts_say_what_they_rest_on() -> None:
    assert len(CHARTS) == 18
    assert len({chart.key for chart in CHARTS}) == 18
    for chart in CHARTS:
        assert any(char.isdigit() for char in chart.note)
        lined = any(series.kind == "line" and "R²" in series.label for series in chart.series)
        assert ("R²" in chart.note) == lined or "No line is fitted" in chart.note
        for series in chart.series:
            assert len(series.x) == len(series.y)
            assert len(series.names) == (len(series.x) if series.kind == "points" else 0)
            assert not chart.y.log or all(y > 0 for y in series.y)
        if JOULES_AXIS in (chart.x.label, chart.y.label):
            assert "thermal design power and full use of the chip" in chart.note
        if any(series.label.startswith("all: x") for series in chart.series) and chart.x.label == "Release date":
            assert "hangs on which of them are in it" in chart.note
    assert not any("paper's table" in chart.note for chart in CHARTS if chart.title.startswith("Vision"))


def test_a_model_of_ones_own_is_on_the_charts_and_in_no_line() -> None:
    mine = replace(DATA.model("ResNet-50"), name="mine.onnx", date=datetime.date(2024, 5, 1), basis="counted by macsim")
    drawn = {chart.key: chart for chart in charts(LATER, mine)}
    others = {chart.key: chart for chart in CHARTS}
    marked = {key for key, chart in drawn.items() if chart != others[key]}
    dated = {"accuracy-date", "gflops-date", "joules-date", "human-vision", "two-methods-vision"}
    assert marked == dated | {"parameters", "accuracy-gflops", "accuracy-joules"}
    for key in marked:
        assert drawn[key].series[:-1] == others[key].series
        assert drawn[key].series[-1].names == ("mine.onnx (2024-05)",)
    [joules] = drawn["joules-date"].series[-1].y
    assert joules == pytest.approx(mine.gflops / LINES["vision"].at("2024-05-01"))
    assert "- compute: 0.047 x the line of all models" in markdown(LATER, mine=mine)


def test_what_came_later_is_in_no_line_of_the_study() -> None:
    assert trends.efficiency_line(LATER, "vision") == LINES["vision"]
    assert sum(row.is_counted for row in LATER.models) == 42
    later = [chip for chip in LATER.chips if chip.is_later]
    assert min(chip.date.year for chip in later) >= 2021
    hopper = next(chip for chip in later if "H100 SXM" in chip.name and chip.precision == "FP16/FP32 Tensor")
    assert trends.theoretical_efficiency(hopper) == pytest.approx(989.4e3 / 700)  # dense; its data sheet


def test_the_page_needs_nothing_but_itself() -> None:
    pytest.importorskip("plotly")
    from macsim.trends.page import page

    text = page(CHARTS, "Mine & <yours>")
    assert "<title>Mine &amp; &lt;yours&gt;</title>" in text
    assert "{{" not in text[:4000]
    tags = text[: text.index("<script>")] + text[text.rindex("<script>") :]
    assert not any(word in tags for word in ("src=", "<link", "@import", "http://", "https://"))
    for role in ("tablist", "tabpanel", 'tabindex="0"', "aria-live"):
        assert role in tags


def test_a_figure_is_drawn(tmp_path) -> None:
    pytest.importorskip("matplotlib")
    from macsim.trends.plots import draw

    figure = draw(next(chart for chart in CHARTS if chart.key == "joules-date"))
    [axes] = figure.axes
    assert axes.get_ylabel() == "Joules of one inference"
    assert axes.get_yscale() == "log"
    assert "AlexNet" in {text.get_text() for text in axes.texts}


def test_what_is_not_installed_is_left_out(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib.figure", "plotly.offline"):
        monkeypatch.setitem(sys.modules, name, None)
    missing = write_report(DATA, tmp_path / "new")
    assert [text.partition(" ")[0] for text in missing] == ["the", "figures"]
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"models.csv", "report.md"}
    assert "](joules-date.svg)" not in (tmp_path / "new/report.md").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "new/models.csv").read_text(encoding="utf-8"))))
    assert len(rows) == len(DATA.models)
    assert all(row["basis"] and row["confidence"] for row in rows)
    bert = next(row for row in rows if row["model"] == "BERT-Large")
    assert float(bert["joules_by_line"]) == pytest.approx(0.96, rel=0.01)
    assert bert["estimated_on"] == "v100-sxm2, f16"
    assert float(bert["joules_low"]) < float(bert["joules_by_estimator"]) < float(bert["joules_high"])


def test_the_report_in_words() -> None:
    text = markdown(LATER, CHARTS)
    assert "| vision, GFLOPs, best of the year | 10 |" in text
    assert "113 of 134 models agree with the published value within 3 %, 65 of 82 models agree with a second" in text
    assert "not explained" not in text
    assert "| DeepSeek-V3 | 2024-12 | 2048 tokens |" in text


def test_a_model_is_placed(capsys) -> None:
    from macsim.cli import main

    sizes = ["--shape", "1,3,224,224", "--top1", "76.1", "--date", "2016-01-01"]
    assert main(["trends", "--place", MODEL, *sizes]) == 0
    first, compute, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("resnet50.onnx: 8.18 GFLOPs")  # 2 x 4,089,184,256 MACs
    assert compute.startswith("compute: 1.2 x the line of all models")
    energy, estimator = rest[:2]
    assert energy.startswith("energy: 1.2 x the line of all models")
    assert estimator.startswith("macsim's estimator: ")
    assert estimator.endswith(" on k80, f32")
    assert main(["trends", "--place", MODEL, "--dim", "height=224", "--dim", "width=224"]) == 2
    assert "give --dim batch=1, or --shape" in capsys.readouterr().err
    assert main(["trends", "--place", MODEL, "--shape", "1,3,224,224", "--top1", "0.762"]) == 2
    assert "it is in percent" in capsys.readouterr().err
    assert main(["trends", "--place", MODEL, "--shape", "8,3,224,224", "--top1", "76.2"]) == 0
    assert "if that is a batch, give 1" in capsys.readouterr().err
    assert main(["trends", "--top1", "80"]) == 2
