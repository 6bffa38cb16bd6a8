"""Every causal architecture of transformers with a small config: the settings of each, and what racviz refuses of it."""

from typing import Any

SIZES: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim", "n_embed", "embed_dim", "word_embed_proj_dim"), 32),
    **dict.fromkeys(("embedding_size", "input_embedding_size", "output_embedding_size", "lru_width"), 32),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "d_ff", "n_inner", "ffn_hidden_size", "decoder_ffn_dim", "encoder_ffn_dim"), 64),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "encoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("decoder_attention_heads", "encoder_attention_heads"), 4),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx", "context_length"), 128),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "moe_intermediate_size", "shared_expert_intermediate_size"), 16),
    **dict.fromkeys(("head_dim", "rotary_dim", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"), 8),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "mamba_d_state", "state_size"), 8),
    **dict.fromkeys(("linear_num_key_heads", "first_k_dense_replace", "num_dense_layers", "n_group", "topk_group"), 1),
    "num_key_value_heads": 2, "num_experts_per_tok": 2, "linear_num_value_heads": 2, "sliding_window": 16,
}  # fmt: skip
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
LATENT = {"num_key_value_heads": 4}
"""Multi-head latent attention has as many heads for keys as for queries."""
HYBRID = {"num_hidden_layers": 4}
"""Three layers of linear attention, one of full attention."""
SETTINGS: dict[str, dict[str, Any]] = {
    "deepseek_v2": LATENT | {"first_k_dense_replace": 0, "num_experts_per_tok": 2},
    "bamba": {"attn_layer_indices": [1], "mamba_n_heads": 8, "mamba_d_head": 8},
    "falcon_h1": {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16},
    "gemma3n_text": {
        "layer_types": ["sliding_attention", "full_attention"], "num_kv_shared_layers": 0, "hidden_size_per_layer_input": 8,
        "laurel_rank": 4, "activation_sparsity_pattern": None, "vocab_size_per_layer_input": 1024,
    },
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "attention_layers": ["global", "local"]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"], "mamba_n_heads": 4, "mamba_d_head": 16},
    "hunyuan_v1_dense": {"head_dim": 8}, "hunyuan_v1_moe": {"head_dim": 8}, "ministral": {"head_dim": 8},
    "nemotron": {"head_dim": 8, "num_key_value_heads": 2}, "ctrl": {"dff": 64},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1},
    "moshi": {"sliding_window": 128},  # its own attention with a window differs with and without a cache, in transformers itself
    "qwen3_5_moe_text": HYBRID, "qwen3_5_text": HYBRID, "qwen3_next": HYBRID,
    "recurrent_gemma": {"num_hidden_layers": 3, "attention_window_size": 16},
    "reformer": {"is_decoder": True, "axial_pos_embds_dim": (8, 24), "axial_pos_shape": (8, 16)},
    "xmod": {"default_language": "en_XX"},
    "zaya": {"num_experts_per_tok": 1},
    **dict.fromkeys(("axk1", "axk2", "deepseek_v3", "deepseek_v32", "glm4_moe_lite", "glm_moe_dsa", "minicpm3", "youtu"),
                    LATENT),
}  # fmt: skip


def config_of(kind: str, **changes: Any) -> Any:
    """A config with as small sizes as the architecture has names for."""
    from transformers import CONFIG_MAPPING

    made = CONFIG_MAPPING[kind]
    base = made()
    known = {*vars(base), *getattr(base, "attribute_map", {})}
    sizes = {name: size for name, size in SIZES.items() if name in known and vars(base).get(name, size) is not None}
    return made(**{"vocab_size": 1024, **sizes, **SPECIAL, **SETTINGS.get(kind, {}), **changes})


ENCODERS = """bert bert-generation big_bird camembert data2vec-text electra ernie megatron-bert rembert roberta roberta-prelayernorm
roformer xlm xlm-roberta xlm-roberta-xl xlnet xmod prophetnet"""
"""Their tokens see those that follow, or a second stream of tokens."""
OWN_CACHES = "cpmant doge inkling_text minimax qwen4_exp_text reformer rwkv xlstm"
"""Their caches, and the calls of their blocks, are their own."""
EXPERTS = """afmoe aria_text axk1 axk2 cohere2_moe deepseek_v2 deepseek_v3 deepseek_v32 deepseek_v4 ernie4_5_moe exaone_moe flex_olmo
glm4_moe glm4_moe_lite gpt_oss granitemoe granitemoe_swa granitemoehybrid granitemoeshared hunyuan_v1_moe hy_v3 hy_v4 jamba jetmoe laguna
lfm2_moe llama4_text mellum mimo_v2_flash minimax_m2 minimax_m3_vl_text mixtral olmoe phimoe qwen2_moe qwen3_5_moe_text qwen3_moe
qwen3_next solar_open zaya"""
SHARED_STATES = "bamba gemma3n_text glm_moe_dsa hrm_text"
"""Blocks that hand more than hidden states to one another."""
CROSS_ATTENTION = "bart bigbird_pegasus blenderbot blenderbot-small marian mbart mvp pegasus plbart trocr whisper"
"""Decoders of encoder-decoder models: without an encoder no token reaches their cross attention."""
ALL = ("generation", "moments", "pruning")
REFUSED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys((ENCODERS + " " + OWN_CACHES).split(), ALL),
    **dict.fromkeys((EXPERTS + " " + SHARED_STATES).split(), ("moments", "pruning")),
    **dict.fromkeys(CROSS_ATTENTION.split(), ("pruning",)),
    "mamba": ("generation", "pruning"), "falcon_mamba": ("generation", "pruning"),  # a cache of their own; dt_proj is not called
    "mamba2": ("generation",), "openai-gpt": ("generation",),
}  # fmt: skip
SKIPPED = {
    **dict.fromkeys(
        "emu3 gemma3 gemma4 gemma4_unified git got_ocr2 llama4 mllama phi4_multimodal qwen3_5 qwen3_5_moe qwen4_exp".split(),
        "a composite of several configs; the small ones are in test_composite_models.py",
    ),
    **dict.fromkeys("blt gemma4_text kimi_linear longcat_flash roc_bert".split(), "no small config: some sizes are fixed"),
    **dict.fromkeys("gemma4_assistant gemma4_unified_assistant musicgen musicgen_melody".split(), "needs a second model"),
    **dict.fromkeys("cohere_compass_text dbrx dots1 zamba zamba2".split(), "transformers 5.17 does not build its small config"),
    "gemma3n": "needs timm", "nemotron_h": "its plain forward pass takes half a minute on a CPU",
}  # fmt: skip
