# Architectures of the transformers package against torch's own counter, with symbols, in every mode, and at full size.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from transformers_models import EXPERTS, GROUPED, MODELS, Model, words  # noqa: E402

import macsim  # noqa: E402
from macsim import Expr  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers' own

# Torch's counter counts 0 for these: products over an axis of 1, which torch makes with mul.
# Longformer and LED: a mask for the window, the product of columns, 8 x 8 for each of 3 chunks of 2 rows, at a layer.
MORE = {"Longformer": 2 * 2 * 3 * 64, "LED": 2 * 3 * 64}
UNKNOWN_TO_TORCH = {"aten::linalg_solve_triangular"}  # in Qwen3-Next's gated delta rule


def build(name: str, model: Model, **kwargs: Any) -> Any:
    config = getattr(transformers, name.partition(":")[0] + "Config")(**model.config, **kwargs)
    torch.manual_seed(0)
    return transformers.AutoModel.from_config(config).eval()


def counted_by_torch(name: str, model: Model) -> int:
    """Half of the FLOPs that torch counts: on meta, or run on the CPU with attention and experts written out."""
    from torch.utils.flop_counter import FlopCounterMode

    device = "cpu" if model.on_cpu else "meta"
    ways = {"attn_implementation": "eager"} if model.on_cpu else {}
    if model.on_cpu == EXPERTS:
        ways["experts_implementation"] = "eager"  # a loop over the experts that are hit, with the rows of each
    given = {key: value.to(device) for key, value in model.inputs().items()}
    grad = name == "Deberta"  # its softmax is a function with a gradient, which torch cannot trace without
    with torch.device(device), torch.set_grad_enabled(grad), FlopCounterMode(display=False) as counter:
        build(name, model, **ways).to(device)(**given)
    return int(counter.get_total_flops()) // 2


@pytest.mark.parametrize("name", MODELS)
def test_as_torch_counts(name: str) -> None:
    model = MODELS[name]
    report = macsim.count(build(name, model), kwargs=model.inputs())
    unknown = {row.op for row in report.rows if row.trust == "unknown"}
    assert unknown <= UNKNOWN_TO_TORCH
    known = sum(row.macs for row in report.rows if row.op not in UNKNOWN_TO_TORCH)
    assert known == counted_by_torch(name, model) + MORE.get(name, 0)


def test_outer_products() -> None:
    """BigBird's sparse masks are outer products, which torch's counter does not see.

    Of rows of 4 in blocks: 12 blocks by 12 columns once, 14 blocks by 4 heads and 4 columns at each of 2 layers.
    """
    model = Model({**MODELS["BigBird"].config, "attention_type": "block_sparse", "block_size": 4,
                   "num_random_blocks": 1}, lambda: words(2, 64), "its blocks are drawn by numpy")  # fmt: skip
    want = counted_by_torch("BigBird", model) + 2 * 12 * 4 * 12 + 2 * (2 * 14 * 4 * 4 * 4)
    assert macsim.count(build("BigBird", model), kwargs=model.inputs()).macs == want


SYMBOLIC = [
    name for name, model in MODELS.items() if model.inputs is words and (not model.on_cpu or model.on_cpu == EXPERTS)
]


@pytest.mark.parametrize("name", SYMBOLIC)
def test_symbols(name: str) -> None:
    module = build(name, MODELS[name])
    sizes = {"batch": 2, "seq": 16}
    report = macsim.count(module, shapes={"input_ids": ("batch", "seq")}, hints=sizes)
    assert {symbol.name for symbol in report.unbound} == {"batch", "seq"}
    assert report.bind(sizes).macs == macsim.count(module, kwargs=words()).macs


@pytest.mark.parametrize("name", ["SwitchTransformers"])
def test_choices_that_depend_on_data_are_refused(name: str) -> None:
    """The loop runs over the experts that were hit."""
    config = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 99,
              "num_experts": 2, "num_sparse_encoder_layers": 1}  # fmt: skip
    model = Model(config, MODELS["T5"].inputs)
    with pytest.raises(macsim.TraceError, match="nonzero"):
        macsim.count(build(name, model), kwargs=model.inputs())


@pytest.mark.parametrize("name", ["Bert", "Llama", "Gemma2", "T5", "ViT", "Whisper", "Wav2Vec2"])
def test_modes(name: str) -> None:
    model = MODELS[name]
    want = macsim.count(build(name, model), kwargs=model.inputs()).macs
    for training in (True, False):
        with torch.set_grad_enabled(training):
            assert macsim.count(build(name, model).train(training), kwargs=model.inputs()).macs == want
    assert macsim.count(build(name, model, attn_implementation="eager"), kwargs=model.inputs()).macs == want
    on_meta = {key: value.to("meta") for key, value in model.inputs().items()}
    assert macsim.count(build(name, model).to("meta"), kwargs=on_meta).macs == want


@pytest.mark.parametrize("name", ["Mixtral", "Qwen3Moe", "DeepseekV3"])
def test_experts_however_they_are_run(name: str) -> None:
    model = MODELS[name]
    macs = [
        macsim.count(build(name, model, experts_implementation=way), kwargs=model.inputs()).macs
        for way in ("grouped_mm", "batched_mm")
    ]
    assert macs[0] == macs[1]


# Calls. ---------------------------------------------------------------------------------------------------------------


def test_batch_encoding() -> None:
    module = build("Llama", MODELS["Llama"])
    given = words()
    given["attention_mask"] = torch.ones_like(given["input_ids"])
    encoding = transformers.BatchEncoding(given)
    assert macsim.count(module, encoding).macs == macsim.count(module, kwargs=words()).macs


def test_methods() -> None:
    sides = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = transformers.CLIPConfig(
        text_config={**sides, "vocab_size": 99},
        vision_config={**sides, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    module = transformers.CLIPModel(config).eval()
    image = macsim.count(module, kwargs={"pixel_values": (2, 3, 32, 32)}, method="get_image_features")
    text = macsim.count(module, kwargs=words(2, 8), method="get_text_features")
    block = 4 * 32 * 32 + 2 * 32 * 64
    assert image.macs == 2 * (16 * 192 * 32 + 17 * block + 2 * 17 * 17 * 32 + 32 * 16)
    assert text.macs == 2 * (8 * block + 2 * 8 * 8 * 32 + 32 * 16)
    both = macsim.count(module, kwargs={"pixel_values": torch.zeros(2, 3, 32, 32), **words(2, 8)})
    assert both.macs == image.macs + text.macs + 2 * 2 * 16


def test_a_step_with_a_cache() -> None:
    """One token after 10: 2 layers of 4 heads of 8, 2 of them for keys and values, and a head for 99 words."""
    config = transformers.LlamaConfig(**GROUPED)
    module = transformers.AutoModelForCausalLM.from_config(config).eval()
    cache = transformers.DynamicCache(config=config)
    for layer in range(2):
        cache.update(torch.zeros(1, 2, 10, 8), torch.zeros(1, 2, 10, 8), layer)
    held = [layer.keys for layer in cache.layers]
    given = {"input_ids": torch.ones(1, 1, dtype=torch.int64), "past_key_values": cache}
    report = macsim.count(module, kwargs=given)
    assert report.macs == 2 * (32 * (32 + 16 + 16 + 32) + 2 * 11 * 32 + 3 * 32 * 64) + 32 * 99
    assert cache.get_seq_length() == 10  # left as it was found
    assert all(a is b.keys and a.shape == (1, 2, 10, 8) for a, b in zip(held, cache.layers, strict=True))


# At full size. --------------------------------------------------------------------------------------------------------

FULL = """
import json, resource, sys
import torch, transformers, macsim
for name, config in json.loads(sys.argv[1]):
    with torch.device("meta"):
        config = getattr(transformers, name)(**config)
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    report = macsim.count(model.eval(), torch.empty(1, 2048, dtype=torch.int64, device="meta"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps([report.macs, report.parameters, peak]), flush=True)
"""
LLAMA_70B = {
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
}


def llama(width: int, hidden: int, layers: int, kv: int, vocabulary: int) -> int:
    """MACs of 2,048 tokens: projections with ``kv`` channels for keys and for values, scores, values, the gated MLP."""
    n = 2048
    return (
        layers * n * (2 * width * width + 2 * width * kv + 2 * n * width + 3 * width * hidden) + n * width * vocabulary
    )


def deepseek() -> int:
    """Of DeepSeek-V3: 61 layers of 7,168 channels and 128 heads, 3 of them dense; 8 experts of 256 and a shared one."""
    n, width, heads = 2048, 7168, 128
    query = width * 1536 + 1536 * heads * (128 + 64)
    keys = width * (512 + 64) + 512 * heads * (128 + 128)
    attention = query + keys + n * heads * (128 + 64 + 128) + heads * 128 * width
    mixture = width * 256 + (8 + 1) * 3 * width * 2048
    return n * (61 * attention + 3 * 3 * width * 18432 + 58 * mixture + width * 129280)


def test_full_size() -> None:
    """In a process of their own, whose memory is measured: Llama of 7 and of 70 billion parameters, DeepSeek-V3."""
    models = [("LlamaConfig", {}), ("LlamaConfig", LLAMA_70B), ("DeepseekV3Config", {})]
    command = [sys.executable, "-W", "ignore", "-c", FULL, json.dumps(models)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in run.stdout.splitlines()]
    macs = [llama(4096, 11008, 32, 4096, 32000), llama(8192, 28672, 80, 1024, 32000), deepseek()]
    assert [one[0] for one in found] == macs
    for (_, stored, peak), parameters in zip(found, (6.7e9, 69e9, 671e9), strict=True):
        assert abs(stored / parameters - 1) < 0.01
        assert peak < 1e9


def test_full_size_in_symbols() -> None:
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(transformers.LlamaConfig(num_hidden_layers=2))
    n = Expr("n")
    report = macsim.count(model.eval(), shapes={"input_ids": (1, "n")})
    assert report.macs == 2 * n * (4 * 4096 * 4096 + 2 * n * 4096 + 3 * 4096 * 11008) + n * 4096 * 32000
