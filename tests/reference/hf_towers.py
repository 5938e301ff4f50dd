#!/usr/bin/env python3
"""Counts vision and audio towers with their projectors as transformers builds them, on the meta device.

usage: hf_towers.py > hf_towers.json      (transformers 5, torch)

Each entry holds a config.json as the checkpoint publishes it (the fields that decide shapes) and the parameters of
everything that is neither the decoder nor its head.
"""
import json

import torch
import transformers
from transformers import AutoConfig, AutoModel

TEXT = dict(hidden_size=64, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=4, intermediate_size=128,
            vocab_size=1024, max_position_embeddings=512)
QWEN25 = dict(depth=32, hidden_size=1280, intermediate_size=3420, num_heads=16, in_channels=3, patch_size=14,
              spatial_merge_size=2, temporal_patch_size=2)
QWEN2 = dict(depth=32, embed_dim=1280, num_heads=16, mlp_ratio=4, in_channels=3, patch_size=14, spatial_merge_size=2,
             temporal_patch_size=2)
CASES = {
    "Qwen/Qwen2.5-VL-7B-Instruct": dict(model_type="qwen2_5_vl", text_config=TEXT, vision_config=dict(
        QWEN25, model_type="qwen2_5_vl", out_hidden_size=3584)),
    "Qwen/Qwen2.5-VL-3B-Instruct": dict(model_type="qwen2_5_vl", text_config=TEXT, vision_config=dict(
        QWEN25, model_type="qwen2_5_vl", out_hidden_size=2048)),
    "Qwen/Qwen2-VL-7B-Instruct": dict(model_type="qwen2_vl", text_config=TEXT, vision_config=dict(
        QWEN2, model_type="qwen2_vl", hidden_size=3584)),
    "Qwen/Qwen3-VL-8B-Instruct": dict(model_type="qwen3_vl", text_config=dict(TEXT, model_type="qwen3_vl_text"), vision_config=dict(
        model_type="qwen3_vl", depth=27, hidden_size=1152, intermediate_size=4304, num_heads=16, in_channels=3,
        patch_size=16, spatial_merge_size=2, temporal_patch_size=2, out_hidden_size=4096,
        num_position_embeddings=2304, deepstack_visual_indexes=[8, 16, 24])),
    "llava-hf/llava-1.5-7b-hf": dict(model_type="llava", text_config=dict(TEXT, model_type="llama"), vision_config=dict(
        model_type="clip_vision_model", hidden_size=1024, intermediate_size=4096, num_hidden_layers=24,
        num_attention_heads=16, image_size=336, patch_size=14, projection_dim=768)),
    "Qwen/Qwen2-Audio-7B-Instruct": dict(model_type="qwen2_audio", text_config=dict(TEXT, model_type="qwen2"),
        audio_config=dict(model_type="qwen2_audio_encoder", d_model=1280, encoder_layers=32, encoder_ffn_dim=5120,
                          encoder_attention_heads=20, num_mel_bins=128, max_source_positions=1500)),
}


def main():
    out = {"transformers": transformers.__version__, "towers": {}}
    for name, case in CASES.items():
        config = AutoConfig.for_model(case["model_type"], **{k: v for k, v in case.items() if k != "model_type"})
        with torch.device("meta"):
            model = AutoModel.from_config(config)
        parameters = sum(p.numel() for n, p in model.named_parameters()
                         if "language_model" not in n and "lm_head" not in n)
        out["towers"][name] = {"config": case, "parameters": parameters}
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
