# Calls that torch refuses a symbol, checks of contents that are not known, tensors that lie apart.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""What torch itself would not go on with: each against the count of what it stands for."""

from __future__ import annotations

from typing import Any

import pytest

import macsim

torch = pytest.importorskip("torch")
F = torch.nn.functional
pytestmark = pytest.mark.filterwarnings("ignore")


def made(x: Any) -> dict[str, Any]:
    return {"device": x.device}


def put(x: Any, index: Any) -> Any:
    y = x.clone()
    y[index] = 0
    return y


# Of n rows of m: counted with symbols that are then bound, and with numbers.
CALLS = {
    "topk": lambda x: x.topk(x.shape[1] // 2),
    "kthvalue": lambda x: x.kthvalue(x.shape[1] // 2),
    "linspace": lambda x: torch.linspace(0, 1, x.shape[0], **made(x)),
    "logspace": lambda x: torch.logspace(0, 1, steps=x.shape[0], **made(x)),
    "tril_indices": lambda x: torch.tril_indices(x.shape[0], x.shape[1], 1, **made(x)),
    "triu_indices": lambda x: torch.triu_indices(x.shape[0], x.shape[1], -2, **made(x)),
    "hann_window": lambda x: torch.hann_window(x.shape[0], **made(x)),
    "rfftfreq": lambda x: torch.fft.rfftfreq(x.shape[0], **made(x)),
    "unfold": lambda x: x.unfold(1, x.shape[1] // 2, 1),
    "one_hot": lambda x: F.one_hot(x.argmax(1), x.shape[1]),
    "randperm": lambda x: torch.randperm(x.shape[0], **made(x)),
    "multinomial": lambda x: x.softmax(-1).multinomial(x.shape[0] // 4),
    "index": lambda x: x[x.shape[0] // 2],
    "index of a later axis": lambda x: x[None, ..., x.shape[1] - 1],
    "index beside a tensor": lambda x: x[torch.arange(2, **made(x)), x.shape[1] - 1],
    "indexed assignment": lambda x: put(x, (x.shape[0] - 1, 0)),
    "hsplit": lambda x: x.hsplit(2)[0],
    "cov": torch.cov,
    "corrcoef": torch.corrcoef,
    "kron": lambda x: torch.kron(x, x),
}


@pytest.mark.parametrize("name", CALLS)
def test_symbols_where_torch_takes_numbers(name: str) -> None:
    report = macsim.count(CALLS[name], shapes={"x": ("n", "m")})
    for n, m in ((6, 10), (9, 4)):
        bound, plain = report.bind(n=n, m=m), macsim.count(CALLS[name], (n, m))
        assert [one.shape for one in bound.outputs] == [one.shape for one in plain.outputs]
        assert bound.work == plain.work


def checked(x: Any) -> Any:
    if torch.isnan(x).any():
        raise ValueError("not a number")
    if not torch.isfinite(x).all() or (x < 0).any():
        text = "out of range"
        raise ValueError(text)
    assert torch.allclose(x, x) and not torch.equal(x, x + 1), "apart"  # noqa: PT018
    assert (x > 0).all().item()
    return x @ x.t()


def decided(x: Any) -> Any:
    if torch.isnan(x).any():
        return x
    return x @ x.t()


def test_checks_pass() -> None:
    """A program that is counted is one that goes on; what it checks is counted, too: 20 for each of 5 comparisons."""
    report = macsim.count(checked, torch.empty(4, 5, device="meta"))
    assert report.macs == 80
    assert [row.op for row in report.rows if row.op in ("aten::isnan", "aten::lt", "aten::gt")] == [
        "aten::isnan",
        "aten::lt",
        "aten::gt",
    ]
    assert macsim.count(checked, shapes={"x": ("n", 5)}).macs == macsim.Expr("5*n^2")
    with pytest.raises(macsim.TraceError, match="looks at the contents"):
        macsim.count(decided, (4, 5))


def test_distributions_are_counted() -> None:
    """They check what they are given."""

    def drawn(x: Any) -> Any:
        here = torch.distributions.Normal(x, x.exp())
        return here.rsample(), here.log_prob(x), torch.distributions.Gamma(x.exp(), x.exp()).rsample()

    report = macsim.count(drawn, (4, 5))
    assert report.trust == "estimate"
    assert [one.shape for one in report.outputs] == [(4, 5)] * 3


def test_parts_of_sparse_tensors() -> None:
    """As many as the data says."""
    matrix = torch.eye(4).to_sparse()
    values, places = (macsim.count(call, matrix) for call in (torch.Tensor.values, torch.Tensor.indices))
    assert values.bind({values.outputs[0].shape[0].symbols[0]: 4}).outputs[0].shape == (4,)
    assert places.outputs[0].shape[0] == 2
    rows = macsim.count(lambda x: x.crow_indices(), torch.eye(4).to_sparse_csr())
    assert rows.outputs[0].shape == (5,)


def test_packed_sequences_are_moved() -> None:
    def packed(x: Any) -> Any:
        return torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor([3, 2])).data

    report = macsim.count(packed, (3, 2, 5))
    assert (report.trust, report.outputs[0].shape) == ("exact", (5, 5))


def test_a_window_that_the_program_makes() -> None:
    """Its contents are known, and those of the signal are not."""

    def spectrum(x: Any) -> Any:
        return torch.stft(x, 16, 4, window=torch.hann_window(16), return_complex=True)

    assert macsim.count(spectrum, (2, 64)).outputs[0].shape == (2, 9, 17)


def test_the_greater_of_two_tensors_is_no_reduction() -> None:
    for call, name in ((torch.max, "aten::maximum"), (torch.min, "aten::minimum")):
        report = macsim.count(call, torch.empty(4, 1, device="meta"), torch.empty(5, device="meta"))
        assert [(row.op, row.work["compare"]) for row in report.rows] == [(name, 20)]
        assert report.outputs[0].shape == (4, 5)


def test_in_place_forms_are_counted_by_what_they_compute() -> None:
    """x 2^y: a power and a product each."""
    report = macsim.count(lambda x, y: x.clone().ldexp_(y), (4, 5), (4, 5))
    assert report.work["mul"] == 40
    assert report.trust == "exact"


def test_magnitudes_of_complex_numbers_are_real() -> None:
    """17 frames of 9 bins, twice, times a real matrix; whether complex numbers are finite their parts tell."""

    def bands(x: Any, w: Any) -> Any:
        return torch.stft(x, 16, 4, return_complex=True).abs().transpose(1, 2) @ w

    report = macsim.count(bands, (2, 64), (9, 3))
    assert (report.macs, report.outputs[0].dtype) == (2 * 17 * 9 * 3, "f32")
    given = torch.empty(4, dtype=torch.complex64, device="meta")
    assert macsim.count(torch.isfinite, given).trust == "exact"
    wide = macsim.count(torch.mul, given, torch.empty(4, dtype=torch.float64, device="meta"))
    assert wide.outputs[0].dtype == "c128"


def test_in_place_forms_on_known_contents() -> None:
    """2 products and a sum each; what was written is known."""

    def chosen(x: Any, i: Any) -> Any:
        j = i.clone().addcmul_(i, i)
        return x[j.tolist()]

    report = macsim.count(chosen, (9, 2), torch.tensor([1, 2]))
    assert report.trust == "exact"
    assert report.outputs[0].shape == (2, 2)


def test_results_that_are_written_to_empty_tensors() -> None:
    """Torch makes them as large as they have to be."""

    def written(x: Any, w: Any) -> Any:
        into = torch.empty(0, device=x.device)
        torch.matmul(x, w, out=into)
        return torch.add(into, 1, out=torch.empty(0, device=x.device))

    report = macsim.count(written, (4, 5), (5, 6))
    assert (report.macs, report.work["add"], report.outputs[0].shape) == (120, 24, (4, 6))


def test_covariances_with_weights() -> None:
    """4 variables, 5 observations: products of each with each."""
    given = torch.empty(4, 5), torch.empty(5, dtype=torch.int32, device="meta"), torch.empty(5)
    report = macsim.count(lambda x, f, a: torch.cov(x, fweights=f, aweights=a), *given)
    assert (report.macs, report.outputs[0].shape) == (80, (4, 4))


def test_a_histogram_of_several_dimensions() -> None:
    report = macsim.count(lambda x: torch.histogramdd(x, [2, 3]), (7, 2))
    assert [one.shape for one in report.outputs] == [(2, 3), (3,), (4,)]
    assert report.trust == "exact"


def test_a_product_of_three_with_axes_that_they_lack() -> None:
    """The parts of a bilinear layer's gradient: 3 x 5 x 4 x 6 products, then 3 x 5 x 6."""

    def product(a: Any, b: Any, c: Any) -> Any:
        return torch.ops.aten._trilinear(a, b, c, [1, 3], [0], [1, 2], [2, 3])

    report = macsim.count(product, (3, 4), (5, 4, 6), (3, 6))
    assert (report.macs, report.outputs[0].shape) == (360 + 90, (3, 5))


def test_scales_of_quantised_tensors() -> None:
    """Those of an input are known; what the program quantises itself keeps none."""
    x = torch.randn(4, 8)
    one = torch.quantize_per_tensor(x, 0.1, 3, torch.quint8)
    each = torch.quantize_per_channel(x, torch.ones(4), torch.zeros(4, dtype=torch.int64), 0, torch.qint8)

    def scaled(q: Any) -> Any:
        assert q.qscheme() == torch.per_tensor_affine
        return (q.int_repr() - q.q_zero_point()) * q.q_scale()

    assert macsim.count(scaled, one).outputs[0].shape == (4, 8)
    report = macsim.count(
        lambda q: q.dequantize() * q.q_per_channel_scales().unsqueeze(1 - q.q_per_channel_axis()), each
    )
    assert (report.outputs[0].shape, report.trust) == ((4, 8), "exact")
    with pytest.raises(macsim.TraceError, match="ask the input or the parameter"):
        macsim.count(lambda x: torch.quantize_per_tensor(x, 0.1, 3, torch.quint8).q_scale(), (4, 8))


def test_half_as_wide_complex_numbers() -> None:
    """4 real products for each; with reals they are as wide as these need."""
    c, r = (torch.empty(4, 8, dtype=dtype, device="meta") for dtype in (torch.complex32, torch.float32))
    report = macsim.count(lambda x, y: x @ y.t(), c, c)
    assert (report.macs, report.outputs[0].dtype, report.trust) == (4 * 4 * 8 * 4, "c32", "exact")
    assert report.rows[-1].written == 4 * 4 * 4
    assert macsim.count(lambda x: x.to(torch.complex64).chalf(), c).outputs[0].dtype == "c32"
    for other in (r, r.half(), r.bfloat16(), r.double(), torch.empty((), dtype=torch.float64, device="meta")):
        wanted = str(torch.result_type(c, other)).replace("torch.complex", "c")
        assert macsim.count(torch.mul, c, other).outputs[0].dtype == wanted
    assert macsim.count(torch.abs, c).outputs[0].dtype == "f16"


def test_a_sum_of_batches_in_place_that_is_larger() -> None:
    """Torch refuses it where there are no elements, and so it is no count."""
    with pytest.raises(macsim.TraceError, match=r"\[3, 1\] doesn't match the broadcast shape \[3, 6\]"):
        macsim.count(lambda c, a, b: c.clone().addbmm_(a, b), (3, 1), (5, 3, 4), (5, 4, 6))
    report = macsim.count(lambda c, a, b: c.clone().addbmm_(a, b), (3, 6), (5, 3, 4), (5, 4, 6))
    assert (report.macs, report.outputs[0].shape) == (5 * 3 * 4 * 6, (3, 6))
