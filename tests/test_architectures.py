# Whole architectures against torch's own counter, in every mode, with symbols, by every entrance; and left as found.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from architectures import ARCHITECTURES, SIZES, Architecture, Packed  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402

import macsim  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # the exporters' own


@pytest.fixture(params=ARCHITECTURES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def case(name: str) -> Architecture:
    return ARCHITECTURES[name]


def counted_by_torch(case: Architecture) -> int:
    """Half of the FLOPs that torch counts on meta, in training: fused encoder layers are unknown to it."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        case.build().to("meta").train()(**{key: value.to("meta") for key, value in case.inputs.items()})
    return int(counter.get_total_flops()) // 2


def test_as_torch_counts(case: Architecture) -> None:
    model = case.build()
    want = counted_by_torch(case)
    for mode in (True, False):
        with torch.set_grad_enabled(mode):
            report = macsim.count(model.train(mode), kwargs=case.inputs)
        assert report.macs == want
        assert report.trust != "unknown"
    assert report.parameters == sum(one.numel() for one in model.parameters())
    on_meta = {key: value.to("meta") for key, value in case.inputs.items()}
    assert macsim.count(model.to("meta"), kwargs=on_meta).macs == want


def test_packed_steps_only() -> None:
    """10 steps of 4 gates of 6, from 4 and 6, of the 15 that the padded rows have."""
    report = macsim.count(Packed(), torch.zeros(3, 5, 4), torch.tensor([5, 3, 2]))
    assert report.macs == 10 * 24 * 10


def test_symbols(case: Architecture) -> None:
    dtypes = {name: "i64" for name in ("ids", "edges") if name in case.symbols}
    report = macsim.count(case.build(), shapes=case.symbols, dtypes=dtypes)
    assert report.unbound
    names = {size for shape in case.symbols.values() for size in shape if isinstance(size, str)}
    bound = report.bind({name: SIZES[name] for name in names})
    assert bound.macs == macsim.count(case.build(), kwargs=case.inputs).macs


@pytest.mark.parametrize("backend", [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION])
@pytest.mark.parametrize("name", ["detr", "denoiser", "conformer"])
def test_attention_backends(name: str, backend: Any) -> None:
    case = ARCHITECTURES[name]
    want = macsim.count(case.build(), kwargs=case.inputs)
    with sdpa_kernel(backend):
        assert macsim.count(case.build(), kwargs=case.inputs).work == want.work


# Entrances. -----------------------------------------------------------------------------------------------------------


def quietly(call: Any) -> Any:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return call()


# What cannot be had of a model, and why.
NOT_SYMBOLIC = {"mamba_steps": "range() over a proxy"}
WRONG_ONNX = {"projected": "the exporter writes the size of the projection as that of the cells"}


@cache
def exported(name: str) -> Any:
    case = ARCHITECTURES[name]
    return quietly(lambda: torch.export.export(case.build().eval(), (), dict(case.inputs)))


def test_exported(name: str, case: Architecture) -> None:
    assert macsim.count(exported(name)).macs == macsim.count(case.build(), kwargs=case.inputs).macs


def test_traced_by_fx(name: str, case: Architecture) -> None:
    model = case.build().eval()
    if name in NOT_SYMBOLIC:
        with pytest.raises(Exception):  # noqa: B017, PT011 - torch raises several kinds
            torch.fx.symbolic_trace(model)
        return
    graph = torch.fx.symbolic_trace(model)
    assert macsim.count(graph, *case.inputs.values()).macs == macsim.count(model, kwargs=case.inputs).macs


def test_traced_by_jit(name: str, case: Architecture) -> None:
    model = case.build().eval()
    script = quietly(lambda: torch.jit.trace(model, tuple(case.inputs.values()), check_trace=False))
    assert macsim.count(script, *case.inputs.values()).macs == macsim.count(model, kwargs=case.inputs).macs


def test_onnx(name: str, case: Architecture) -> None:
    pytest.importorskip("onnxscript")
    program = quietly(lambda: torch.onnx.export(exported(name), dynamo=True, verbose=False, optimize=False))
    alike = macsim.count(program.model_proto).macs == macsim.count(case.build(), kwargs=case.inputs).macs
    assert alike == (name not in WRONG_ONNX)


# Left as found. -------------------------------------------------------------------------------------------------------


def state_of(model: nn.Module) -> Any:
    return (
        {key: (value.data_ptr(), value.numpy().tobytes()) for key, value in model.state_dict().items()},
        [(id(one), one.training, sorted(vars(one)), [*one._forward_hooks]) for one in model.modules()],
        [(id(one), one.requires_grad, one.grad) for one in model.parameters()],
        torch.get_rng_state().numpy().tobytes(),
        (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()),
        (torch.is_autocast_enabled("cpu"), torch.backends.mha.get_fastpath_enabled()),
        torch.utils._python_dispatch._len_torch_dispatch_stack(),
        (nn.Module.__call__, nn.Module._call_impl),
    )


@pytest.mark.parametrize("training", [True, False])
def test_left_as_found(case: Architecture, training: bool) -> None:
    model = case.build().train(training)
    last = [one for one in model.modules() if not list(one.children())][-1]
    last.register_forward_hook(lambda *_: None)
    given = copy.deepcopy(case.inputs)
    before = state_of(model)
    macsim.count(model, kwargs=case.inputs)
    assert state_of(model) == before
    assert all(value.equal(given[key]) for key, value in case.inputs.items())

    def fail(*_: Any) -> None:
        raise ValueError("stop")

    hook = model.register_forward_hook(fail)
    before = state_of(model)
    with pytest.raises(macsim.TraceError, match="ValueError: stop"):
        macsim.count(model, kwargs=case.inputs)
    assert state_of(model) == before
    hook.remove()


def test_threads() -> None:
    """All architectures at once, each three times, two threads at a time on the same module."""
    models = {name: case.build() for name, case in ARCHITECTURES.items()}
    want = {name: macsim.count(models[name], kwargs=case.inputs).work for name, case in ARCHITECTURES.items()}
    before = {name: state_of(model) for name, model in models.items()}
    with ThreadPoolExecutor(8) as pool:
        jobs = [
            (name, pool.submit(macsim.count, models[name], kwargs=case.inputs))
            for name, case in ARCHITECTURES.items()
            for _ in range(3)
        ]
        assert all(job.result().work == want[name] for name, job in jobs)
    assert {name: state_of(model) for name, model in models.items()} == before
