# Why counts and published values differ: what the table of causes says is counted, too.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
import pytest

import macsim
from macsim import trends

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from macsim.trends.architectures import cells, mobile  # noqa: E402
from macsim.trends.architectures import transformer as seen  # noqa: E402
from macsim.trends.architectures.registry import DEFINITIONS  # noqa: E402

DATA = trends.load()


def counted(model: nn.Module, size: int) -> tuple[float, float]:
    """Billions of multiply-accumulates, and millions of parameters."""
    macs = int(macsim.count(model.eval(), torch.zeros(1, 3, size, size, device="meta"), strict=True).macs)
    return macs / 1e9, sum(one.numel() for one in model.parameters()) / 1e6


@pytest.mark.parametrize("name", ["CoAtNet-0", "CoAtNet-3"])
def test_the_second_source_has_its_strides_in_other_layers(name: str) -> None:
    definition = DEFINITIONS[name]
    with torch.device("meta"):
        gmacs, _ = counted(seen.coatnet(*definition.arguments, depthwise_stride=True), 224)
    assert 2 * gmacs == pytest.approx(DATA.model(name).independent, rel=0.01)


@pytest.mark.parametrize(("repeats", "width", "parameters", "gmacs"), [(5, 64, 10.9, 2.35), (7, 80, 22.6, 4.93)])
def test_two_networks_have_no_reduction_cells_between_their_stages(
    repeats: int, width: int, parameters: float, gmacs: float
) -> None:
    """NASNet-A (5 @ 1538) and (7 @ 1920): two numbers are published of each, and this gives all four."""
    with torch.device("meta"):
        found = counted(cells.nasnet(repeats, 24 * width, 32, strided=True), 299)
    assert found == pytest.approx((gmacs, parameters), rel=0.006)


@pytest.mark.parametrize(
    ("last", "parameters", "gmacs"), [(2048, 1344, 1465), (3072, 1461, 1495)], ids=["printed", "taken"]
)
def test_coatnet_6_has_its_parameters_by_a_wider_last_stage(last: int, parameters: float, gmacs: float) -> None:
    """1470 M and 1521 GMACs are published; the last stage of -0 to -4 is twice as wide as the one before it, too."""
    row = DATA.model("CoAtNet-6 (JFT)")
    assert row.params is not None
    widths, *rest = DEFINITIONS[row.name].arguments
    with torch.device("meta"):
        found = counted(seen.coatnet((*widths[:-1], last), *rest), 512)
    assert found == pytest.approx((gmacs, parameters), rel=0.001)
    near = (abs(found[1] / row.params - 1) < 0.01, abs(2 * found[0] / row.gflops - 1) < 0.03)
    assert near == (last == 3072,) * 2


@pytest.mark.parametrize(
    ("name", "stated", "normalised"), [("EfficientNet-B4", 4.394, 0.099), ("EfficientNet-B5", 10.266, 0.198)]
)
def test_others_count_efficientnets_alike(name: str, stated: float, normalised: float) -> None:
    """What torchvision states; and the second source, with 2 for each element that is normalised."""
    definition = DEFINITIONS[name]
    elements = 0

    def add(module: nn.Module, given: tuple[torch.Tensor, ...], result: torch.Tensor) -> None:
        nonlocal elements
        elements += result.numel()

    with torch.device("meta"), torch.no_grad():
        model = definition.make().eval()
        size = DATA.model(name).size
        gmacs, _ = counted(model, size)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.register_forward_hook(add)
        model(torch.zeros(1, 3, size, size))
    assert gmacs == pytest.approx(stated, abs=0.0005)
    assert 2 * elements / 1e9 == pytest.approx(normalised, abs=0.0005)
    assert 2 * (gmacs + 2 * elements / 1e9) == pytest.approx(DATA.model(name).independent, rel=0.002)


class Halved:
    """The second source's rule: half of the operations of each layer, of which a sum of n has n - 1."""

    def __init__(self, model: nn.Module) -> None:
        self.total = 0.0
        for module in model.modules():
            module.register_forward_hook(self.add)

    def add(self, module: nn.Module, given: tuple[torch.Tensor, ...], result: torch.Tensor) -> None:
        size = given[0].numel()
        if isinstance(module, nn.Conv2d):
            weights = module.weight.numel()
            spots = result.shape[2] * result.shape[3]
            self.total += weights * spots - weights / module.weight[0, 0].numel() / 2
        elif isinstance(module, nn.Linear):
            self.total += module.weight.numel()
        elif isinstance(module, nn.BatchNorm2d):
            self.total += 2 * size
        elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            self.total += result.numel() * 9 / 2
        elif isinstance(module, nn.ReLU | nn.AdaptiveAvgPool2d | mobile._Shuffle):
            self.total += size / 2
        elif isinstance(module, mobile._ShuffleUnit):  # its last activation is no module
            self.total += result.numel() / 2


@pytest.mark.parametrize(("name", "value"), [("ShuffleNet x1.0 (g=8)", 150.76), ("ShuffleNetV2 x1.0", 149.72)])
def test_what_the_second_source_adds_to_networks_that_shuffle(name: str, value: float) -> None:
    with torch.device("meta"), torch.no_grad():
        model = DEFINITIONS[name].make().eval()
        rule = Halved(model)
        model(torch.zeros(1, 3, 224, 224))
    assert rule.total / 1e6 == pytest.approx(value, abs=0.006)
    assert 2 * value / 1e3 == pytest.approx(DATA.model(name).independent, rel=0.01)
