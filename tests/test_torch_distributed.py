# Models that are wrapped or sharded: counted as the ones that they were made from.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Data, sharded and tensor parallel modules, in one process that takes itself for one of four."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import macsim

torch = pytest.importorskip("torch")
nn = torch.nn
RANKS = 4


@pytest.fixture(scope="module", autouse=True)
def mesh() -> Iterator[Any]:
    """Yield a mesh of devices that are not there: what they would send is never asked for."""
    fake = pytest.importorskip("torch.testing._internal.distributed.fake_pg")
    torch.distributed.init_process_group("fake", store=fake.FakeStore(), rank=1, world_size=RANKS)
    from torch.distributed.device_mesh import init_device_mesh

    yield init_device_mesh("cpu", (RANKS,))
    torch.distributed.destroy_process_group()


def network() -> Any:
    """Make a network with a weight that two of its modules share."""
    model = nn.Sequential(nn.Linear(4, 5), nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8)), nn.Linear(8, 8))
    model[1].append(nn.Linear(8, 8))
    model[1][2].weight = model[2].weight
    return model


class Holder(nn.Module):
    def __init__(self, part: Any) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Any) -> Any:
        with torch.profiler.record_function("part"):
            return self.part(x)


def rows(report: macsim.Report) -> Any:
    return [(row.scope, row.op, row.macs, row.trust) for row in report.rows], report.parameters


def held(model: Any) -> Any:
    def names(dictionary: Any) -> Any:
        return [(name, id(value)) for name, value in dictionary.items()]

    return [
        (id(one), one.training, names(vars(one)), *(names(vars(one)[key]) for key in PARTS)) for one in model.modules()
    ]


PARTS = ("_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks")


def fsdp(model: Any, **how: Any) -> Any:
    from torch.distributed.fsdp import FullyShardedDataParallel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return FullyShardedDataParallel(model, device_id=torch.device("cpu"), **how)


def nested(**how: Any) -> Any:
    model = network()
    model[0] = fsdp(model[0], **how)
    return fsdp(model, **how)


def fully_sharded(mesh: Any) -> Any:
    from torch.distributed.fsdp import fully_shard

    model = network()
    fully_shard(model[0], mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


WRAPS = {
    "DataParallel": lambda mesh: nn.DataParallel(network()),
    "DistributedDataParallel": lambda mesh: nn.parallel.DistributedDataParallel(network()),
    "compiled": lambda mesh: torch.compile(network()),
    "FSDP": lambda mesh: fsdp(network()),
    "FSDP with the parameters as they were": lambda mesh: fsdp(network(), use_orig_params=True),
    "FSDP in FSDP": lambda mesh: nested(),
    "FSDP compiled": lambda mesh: torch.compile(fsdp(network())),
    "fully_shard": fully_sharded,
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", list(WRAPS))
def test_counted_as_if_it_were_not(name: str, training: bool, mesh: Any) -> None:
    plain = macsim.count(network(), (3, 4), training=training)
    assert plain.macs == 3 * (4 * 5 + 5 * 8 + 8 * 8 + 8 * 8)
    assert plain.parameters == 25 + 48 + 16 + 72 + 8
    model = WRAPS[name](mesh)
    before = held(model)
    assert rows(macsim.count(model, (3, 4), training=training)) == rows(plain)
    assert held(model) == before
    inside = Holder(model)
    before = held(inside)
    assert rows(macsim.count(inside, (3, 4), training=training)) == rows(macsim.count(Holder(network()), (3, 4)))
    assert held(inside) == before


@pytest.mark.parametrize("name", ["FSDP", "DataParallel"])
def test_the_forward_of_a_wrapper(name: str, mesh: Any) -> None:
    model = WRAPS[name](mesh) if name in WRAPS else nn.DataParallel(network())
    before = held(model)
    assert rows(macsim.count(model.forward, (3, 4))) == rows(macsim.count(network(), (3, 4)))
    assert held(model) == before


def test_wrapped_torchscript() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nn.Sequential(torch.jit.script(nn.Linear(4, 5)), nn.DataParallel(torch.jit.script(nn.Linear(5, 6))))
        assert macsim.count(model, (3, 4)).macs == 3 * (4 * 5 + 5 * 6)


def test_tensor_parallel(mesh: Any) -> None:
    """All of the work, not that of one of the four."""
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))
    plain = rows(macsim.count(model, (3, 4)))
    parallelize_module(model, mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})
    before = held(model)
    assert rows(macsim.count(model, (3, 4))) == plain
    assert held(model) == before
