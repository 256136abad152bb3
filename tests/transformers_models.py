# Configurations of transformers' architectures: a layer or two of each, of a few dozen channels.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LOOKS = "on meta it looks at the contents of a tensor, or mixes devices"
EXPERTS = "torch's counter does not know aten::_grouped_mm, which on meta takes bfloat16 only"


@dataclass(frozen=True)
class Model:
    """What its configuration is made with, its inputs, and why torch's counter has to see it on the CPU."""

    config: dict[str, Any]
    inputs: Callable[[], dict[str, Tensor]]
    on_cpu: str = ""


def words(n: int = 2, length: int = 16) -> dict[str, Tensor]:
    return {"input_ids": torch.arange(n * length).reshape(n, length) % 50 + 3}


def pairs() -> dict[str, Tensor]:
    return {**words(), "decoder_input_ids": words(2, 8)["input_ids"]}


def images(side: int = 32, n: int = 2) -> dict[str, Tensor]:
    return {"pixel_values": torch.rand(n, 3, side, side)}


def waves() -> dict[str, Tensor]:
    return {"input_values": torch.rand(1, 800)}


TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 99}
GROUPED = dict(TEXT, num_key_value_heads=2)
HEADS = dict(GROUPED, head_dim=8)
PAIR = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "vocab_size": 99,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
AUDIO = dict(
    TEXT,
    conv_dim=(16, 16),
    conv_stride=(5, 2),
    conv_kernel=(10, 3),
    num_feat_extract_layers=2,
    num_conv_pos_embedding_groups=4,
    num_conv_pos_embeddings=8,
)
MIXTURE = {"moe_intermediate_size": 16, "num_experts_per_tok": 2}
MODELS = {
    "Bert": Model(TEXT, words),
    "Roberta": Model(TEXT, words),
    "DistilBert": Model({"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "vocab_size": 99}, words),
    "Albert": Model(dict(TEXT, embedding_size=16), words),
    "Electra": Model(dict(TEXT, embedding_size=16), words),
    "DebertaV2": Model(dict(TEXT), words, LOOKS),
    "DebertaV2:rel": Model(
        dict(
            TEXT,
            relative_attention=True,
            pos_att_type=["p2c", "c2p"],
            position_buckets=8,
            norm_rel_ebd="layer_norm",
            share_att_key=True,
        ),
        words,
        LOOKS,
    ),
    "Deberta": Model(
        dict(TEXT, relative_attention=True, pos_att_type=["p2c", "c2p"], max_relative_positions=16), words, LOOKS
    ),
    "XLMRoberta": Model(TEXT, words),
    "Camembert": Model(TEXT, words),
    "MPNet": Model(TEXT, words),
    "FNet": Model(TEXT, words),
    "ConvBert": Model(dict(TEXT, embedding_size=16), words, LOOKS),
    "Nystromformer": Model(dict(TEXT, num_landmarks=4, segment_means_seq_len=16), words, LOOKS),
    "SqueezeBert": Model(
        dict(
            TEXT,
            embedding_size=32,
            q_groups=2,
            k_groups=2,
            v_groups=2,
            post_attention_groups=1,
            intermediate_groups=2,
            output_groups=2,
        ),
        words,
        LOOKS,
    ),
    "ModernBert": Model(dict(TEXT, pad_token_id=0, global_attn_every_n_layers=2, local_attention=8), words),
    "XLNet": Model({"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64, "vocab_size": 99}, words),
    "Longformer": Model(dict(TEXT, attention_window=8), words, LOOKS),
    "BigBird": Model(dict(TEXT, attention_type="original_full"), words, LOOKS),
    "Reformer": Model(
        {
            "hidden_size": 32,
            "feed_forward_size": 64,
            "attn_layers": ["local", "lsh"],
            "num_attention_heads": 4,
            "attention_head_size": 8,
            "axial_pos_embds": False,
            "lsh_attn_chunk_length": 8,
            "local_attn_chunk_length": 8,
            "num_buckets": 4,
            "num_hashes": 1,
            "vocab_size": 99,
            "max_position_embeddings": 64,
            "is_decoder": True,
        },
        words,
        LOOKS,
    ),
    "Canine": Model(
        {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "num_hash_buckets": 64,
            "downsampling_rate": 4,
            "local_transformer_stride": 16,
            "upsampling_kernel_size": 4,
        },
        words,
        LOOKS,
    ),
    "XLM": Model({"emb_dim": 32, "n_layers": 2, "n_heads": 4, "vocab_size": 99}, words, LOOKS),
    "GPT2": Model({"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 99}, words),
    "GPTJ": Model({"n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4, "vocab_size": 99}, words),
    "GPTNeo": Model(
        {
            "hidden_size": 32,
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 4,
            "vocab_size": 99,
        },
        words,
    ),
    "GPTNeoX": Model(TEXT, words),
    "GPTBigCode": Model({"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 99}, words),
    "CodeGen": Model({"n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4, "vocab_size": 99}, words),
    "OPT": Model(
        {
            "hidden_size": 32,
            "ffn_dim": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "vocab_size": 99,
            "word_embed_proj_dim": 32,
        },
        words,
    ),
    "Bloom": Model({"hidden_size": 32, "n_layer": 2, "n_head": 4, "vocab_size": 99}, words),
    "Falcon": Model({"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 99}, words),
    "Mpt": Model({"d_model": 32, "n_layers": 2, "n_heads": 4, "vocab_size": 99}, words),
    "CTRL": Model({"n_embd": 32, "n_layer": 2, "n_head": 4, "dff": 64, "vocab_size": 99}, words),
    "Llama": Model(GROUPED, words),
    "Mistral": Model(dict(GROUPED, sliding_window=8), words),
    "Mixtral": Model(dict(GROUPED, num_local_experts=4), words, EXPERTS),
    "Gemma": Model(HEADS, words),
    "Gemma2": Model(dict(HEADS, sliding_window=8), words),
    "Gemma3Text": Model(dict(HEADS, sliding_window=8), words),
    "Qwen2": Model(GROUPED, words),
    "Qwen3": Model(HEADS, words),
    "Qwen2Moe": Model(dict(GROUPED, num_experts=4, shared_expert_intermediate_size=32, **MIXTURE), words, EXPERTS),
    "Qwen3Moe": Model(dict(HEADS, num_experts=4, **MIXTURE), words, EXPERTS),
    "Qwen3Next": Model(
        dict(
            HEADS,
            num_experts=4,
            shared_expert_intermediate_size=32,
            linear_num_key_heads=2,
            linear_num_value_heads=4,
            linear_key_head_dim=8,
            linear_value_head_dim=8,
            layer_types=["linear_attention", "full_attention"],
            **MIXTURE,
        ),
        words,
        EXPERTS,
    ),
    "Phi": Model(TEXT, words),
    "Phi3": Model(dict(TEXT, pad_token_id=0), words),
    "Phimoe": Model(dict(GROUPED, num_local_experts=4), words, EXPERTS),
    "DeepseekV2": Model(
        dict(
            TEXT,
            num_key_value_heads=4,
            n_routed_experts=4,
            n_group=2,
            topk_group=1,
            q_lora_rank=16,
            kv_lora_rank=16,
            qk_rope_head_dim=8,
            qk_nope_head_dim=8,
            v_head_dim=8,
            first_k_dense_replace=1,
            topk_method="greedy",
            **MIXTURE,
        ),
        words,
        EXPERTS,
    ),
    "DeepseekV3": Model(
        dict(
            TEXT,
            num_key_value_heads=4,
            n_routed_experts=4,
            n_group=2,
            topk_group=1,
            q_lora_rank=16,
            kv_lora_rank=16,
            qk_rope_head_dim=8,
            qk_nope_head_dim=8,
            v_head_dim=8,
            first_k_dense_replace=1,
            **MIXTURE,
        ),
        words,
        EXPERTS,
    ),
    "Olmo": Model(TEXT, words),
    "Olmo2": Model(TEXT, words),
    "Olmoe": Model(dict(TEXT, num_experts=4, num_experts_per_tok=2), words, EXPERTS),
    "Starcoder2": Model(GROUPED, words),
    "Cohere": Model(GROUPED, words),
    "Cohere2": Model(dict(GROUPED, sliding_window=8), words),
    "Granite": Model(GROUPED, words),
    "GraniteMoe": Model(dict(GROUPED, num_local_experts=4, num_experts_per_tok=2), words, EXPERTS),
    "StableLm": Model(GROUPED, words),
    "Persimmon": Model(TEXT, words),
    "Nemotron": Model(GROUPED, words),
    "Glm": Model(dict(HEADS, pad_token_id=0), words),
    "Glm4": Model(dict(HEADS, pad_token_id=0), words),
    "SmolLM3": Model(dict(GROUPED, pad_token_id=0), words),
    "Helium": Model(HEADS, words),
    "Exaone4": Model(dict(GROUPED, sliding_window=8), words),
    "Ernie4_5": Model(HEADS, words),
    "Bamba": Model(
        dict(GROUPED, mamba_n_heads=8, mamba_d_head=8, mamba_d_state=8, mamba_chunk_size=8, attn_layer_indices=[1]),
        words,
    ),
    "FalconH1": Model(
        dict(HEADS, mamba_d_ssm=32, mamba_n_heads=4, mamba_d_head=8, mamba_d_state=8, mamba_chunk_size=8), words
    ),
    "GptOss": Model(dict(HEADS, num_local_experts=4, sliding_window=8), words, EXPERTS),
    "Llama4Text": Model(
        dict(HEADS, num_local_experts=4, intermediate_size_mlp=64, num_experts_per_tok=1, attention_chunk_size=8), words
    ),
    "MiniMax": Model(
        dict(HEADS, num_local_experts=4, block_size=8, layer_types=["linear_attention", "full_attention"]),
        words,
        EXPERTS,
    ),
    "Lfm2": Model(dict(GROUPED, layer_types=["conv", "full_attention"]), words),
    "Mamba": Model({"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 99}, words),
    "Mamba2": Model(
        {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "vocab_size": 99,
            "num_heads": 8,
            "head_dim": 8,
            "state_size": 8,
            "n_groups": 2,
            "chunk_size": 8,
        },
        words,
    ),
    "Rwkv": Model(
        {
            "hidden_size": 32,
            "attention_hidden_size": 32,
            "num_hidden_layers": 2,
            "vocab_size": 99,
            "context_length": 32,
        },
        words,
    ),
    "RecurrentGemma": Model(
        dict(
            GROUPED,
            num_key_value_heads=1,
            lru_width=32,
            block_types=["recurrent", "attention"],
            attention_window_size=8,
        ),
        words,
    ),
    "Jamba": Model(
        dict(
            GROUPED,
            num_experts=4,
            num_experts_per_tok=2,
            attn_layer_period=2,
            attn_layer_offset=1,
            expert_layer_period=2,
            expert_layer_offset=1,
            mamba_d_state=8,
            mamba_dt_rank=4,
            use_mamba_kernels=False,
        ),
        words,
        EXPERTS,
    ),
    "Zamba2": Model(
        dict(
            TEXT,
            num_key_value_heads=4,
            attention_hidden_size=64,
            attention_head_dim=16,
            n_mamba_heads=8,
            mamba_headdim=8,
            mamba_d_state=8,
            mamba_ngroups=1,
            chunk_size=8,
            layers_block_type=["mamba", "hybrid"],
            hybrid_layer_ids=[1],
            num_mem_blocks=1,
            use_mem_rope=False,
            adapter_rank=4,
        ),
        words,
    ),
    "FalconMamba": Model({"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 99, "state_size": 8}, words),
    "T5": Model({"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 99}, pairs),
    "MT5": Model({"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 99}, pairs),
    "LongT5": Model(
        {
            "d_model": 32,
            "d_kv": 8,
            "d_ff": 64,
            "num_layers": 2,
            "num_heads": 4,
            "vocab_size": 99,
            "encoder_attention_type": "transient-global",
            "local_radius": 3,
            "global_block_size": 4,
        },
        pairs,
    ),
    "UMT5": Model({"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 99}, pairs),
    "Bart": Model(PAIR, pairs, LOOKS),
    "Pegasus": Model(PAIR, pairs, LOOKS),
    "MBart": Model(PAIR, pairs, LOOKS),
    "BlenderbotSmall": Model(PAIR, pairs, LOOKS),
    "Marian": Model(dict(PAIR, pad_token_id=0, decoder_start_token_id=0), pairs, LOOKS),
    "M2M100": Model(PAIR, pairs, LOOKS),
    "LED": Model(dict(PAIR, attention_window=8), pairs, LOOKS),
    "PLBart": Model(PAIR, pairs, LOOKS),
    "ProphetNet": Model(
        {
            "hidden_size": 32,
            "encoder_ffn_dim": 64,
            "num_encoder_layers": 1,
            "num_encoder_attention_heads": 4,
            "decoder_ffn_dim": 64,
            "num_decoder_layers": 1,
            "num_decoder_attention_heads": 4,
            "vocab_size": 99,
        },
        pairs,
    ),
    "Bert:decoder": Model(dict(TEXT, is_decoder=True), words),
    "Whisper": Model(
        dict(PAIR, num_mel_bins=8, max_source_positions=20, pad_token_id=0, decoder_start_token_id=1),
        lambda: {"input_features": torch.rand(1, 8, 40), "decoder_input_ids": words(1, 8)["input_ids"]},
    ),
    "Speech2Text": Model(
        dict(PAIR, input_feat_per_channel=8, conv_channels=16, num_conv_layers=2),
        lambda: {"input_features": torch.rand(1, 40, 8), "decoder_input_ids": words(1, 8)["input_ids"]},
    ),
    "Wav2Vec2": Model(AUDIO, waves),
    "Hubert": Model(AUDIO, waves),
    "WavLM": Model(AUDIO, waves),
    "UniSpeech": Model(AUDIO, waves),
    "Data2VecAudio": Model(dict(AUDIO, conv_pos_kernel_size=3, num_conv_pos_embeddings=2), waves),
    "SEW": Model(dict(AUDIO, squeeze_factor=2), waves),
    "Wav2Vec2Conformer": Model(AUDIO, waves),
    "Wav2Vec2Bert": Model(dict(TEXT, feature_projection_input_dim=8), lambda: {"input_features": torch.rand(1, 20, 8)}),
    "AST": Model(
        {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_length": 32,
            "num_mel_bins": 32,
        },
        lambda: {"input_values": torch.rand(1, 32, 32)},
    ),
    "Dac": Model(
        {
            "encoder_hidden_size": 8,
            "downsampling_ratios": [2, 4],
            "decoder_hidden_size": 32,
            "n_codebooks": 2,
            "codebook_size": 16,
            "codebook_dim": 4,
        },
        lambda: {"input_values": torch.rand(1, 1, 320)},
    ),
    "ViT": Model(VISION, images),
    "DeiT": Model(VISION, images),
    "Beit": Model(VISION, images),
    "Data2VecVision": Model(VISION, images),
    "ViTMAE": Model(
        dict(
            VISION,
            decoder_hidden_size=16,
            decoder_intermediate_size=32,
            decoder_num_hidden_layers=1,
            decoder_num_attention_heads=2,
        ),
        images,
    ),
    "ViTMSN": Model(VISION, images),
    "Hiera": Model(
        {
            "embed_dim": 8,
            "image_size": [32, 32],
            "patch_size": [3, 3],
            "patch_stride": [4, 4],
            "patch_padding": [1, 1],
            "depths": [1, 1],
            "num_heads": [1, 2],
            "embed_dim_multiplier": 2.0,
            "num_query_pool": 1,
            "query_stride": [2, 2],
            "masked_unit_size": [4, 4],
            "masked_unit_attention": [True, False],
        },
        images,
    ),
    "Swin": Model(
        {"image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [2, 1], "num_heads": [2, 4], "window_size": 4},
        images,
    ),
    "Swinv2": Model(
        {"image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [2, 1], "num_heads": [2, 4], "window_size": 4},
        images,
    ),
    "Swin2SR": Model(
        {"image_size": 16, "patch_size": 1, "embed_dim": 16, "depths": [2], "num_heads": [2], "window_size": 4},
        lambda: images(16),
    ),
    "ConvNext": Model({"hidden_sizes": [8, 16, 32, 64], "depths": [1, 1, 1, 1]}, lambda: images(64)),
    "ConvNextV2": Model({"hidden_sizes": [8, 16, 32, 64], "depths": [1, 1, 1, 1]}, lambda: images(64)),
    "ResNet": Model({"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}, lambda: images(64)),
    "RegNet": Model(
        {"embedding_size": 8, "hidden_sizes": [8, 16, 16, 32], "depths": [1, 1, 1, 1], "groups_width": 8},
        lambda: images(64),
    ),
    "MobileNetV1": Model({"depth_multiplier": 0.25}, lambda: images(64)),
    "MobileNetV2": Model({"depth_multiplier": 0.35}, lambda: images(64)),
    "EfficientNet": Model({"width_coefficient": 0.25, "depth_coefficient": 0.3, "hidden_dim": 320}, lambda: images(64)),
    "Bit": Model({"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "num_groups": 4}, lambda: images(64)),
    "Dinov2": Model(VISION, images),
    "Dinov2WithRegisters": Model(VISION, images),
    "DINOv3ViT": Model(VISION, images, LOOKS),
    "Segformer": Model({"depths": [1] * 4, "hidden_sizes": [8, 16, 16, 32]}, lambda: images(64)),
    "MobileViT": Model(
        {"image_size": 64, "hidden_sizes": [16, 20, 24], "neck_hidden_sizes": [8, 8, 16, 16, 16, 24, 32]},
        lambda: images(64),
    ),
    "MobileViTV2": Model({"image_size": 64, "width_multiplier": 0.25}, lambda: images(64)),
    "Levit": Model(
        {
            "image_size": 64,
            "hidden_sizes": [16, 24, 32],
            "num_attention_heads": [1, 2, 2],
            "key_dim": [8, 8, 8],
            "depths": [1, 1, 1],
            "down_ops": [["Subsample", 8, 2, 4, 2, 2], ["Subsample", 8, 3, 4, 2, 2]],
        },
        lambda: images(64),
    ),
    "PoolFormer": Model({"depths": [1] * 4, "hidden_sizes": [8, 16, 16, 32]}, lambda: images(64)),
    "Pvt": Model(
        {
            "image_size": 64,
            "hidden_sizes": [8, 16, 16, 32],
            "depths": [1] * 4,
            "num_attention_heads": [1, 2, 2, 4],
            "mlp_ratios": [2] * 4,
        },
        lambda: images(64),
    ),
    "PvtV2": Model(
        {
            "image_size": 64,
            "hidden_sizes": [8, 16, 16, 32],
            "depths": [1] * 4,
            "num_attention_heads": [1, 2, 2, 4],
            "mlp_ratios": [2] * 4,
        },
        lambda: images(64),
    ),
    "FocalNet": Model(
        {"image_size": 32, "embed_dim": 8, "depths": [1, 1], "focal_levels": [2, 2], "focal_windows": [3, 3]}, images
    ),
    "DPT": Model(
        dict(
            VISION,
            backbone_out_indices=[0, 1, 1, 1],
            neck_hidden_sizes=[8, 8, 16, 16],
            is_hybrid=False,
            fusion_hidden_size=16,
        ),
        images,
    ),
    "VideoMAE": Model(
        dict(VISION, num_frames=4, tubelet_size=2), lambda: {"pixel_values": torch.rand(1, 4, 3, 32, 32)}
    ),
    "Vivit": Model(
        dict(VISION, num_frames=4, tubelet_size=[2, 8, 8]), lambda: {"pixel_values": torch.rand(1, 4, 3, 32, 32)}
    ),
    "Timesformer": Model(dict(VISION, num_frames=4), lambda: {"pixel_values": torch.rand(1, 4, 3, 32, 32)}),
    "SwiftFormer": Model({"depths": [1] * 4, "embed_dims": [8, 16, 16, 32]}, lambda: images(64)),
    "VitDet": Model(dict(VISION, residual_block_indices=[], window_block_indices=[0], window_size=2), images),
    "Aimv2Vision": Model(VISION, images),
}
