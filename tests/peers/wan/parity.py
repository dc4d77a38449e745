"""What diffusers computes with a small random Wan model: the reference that the Rust import is tested against.

    python parity.py --size tiny DIRECTORY     what lies in training/src/wan/fixtures
    python parity.py --size small DIRECTORY    wider, deeper, and the published model's tensor names

Writes a model in diffusers' layout (`transformer/`, sharded, and `vae/`), text embeddings, and `cases.safetensors`:
inputs and expected outputs of the transformer, the autoencoder and the whole pipeline. For the small model:

    KINORA_WAN_FIXTURES=DIRECTORY cargo test -p kinora-training wan -- --include-ignored
"""

import argparse
import json
import pathlib

import torch
from diffusers import (
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from safetensors.torch import save_file

SIZES = {
    "tiny": {
        "transformer": dict(
            num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4, text_dim=16, freq_dim=16,
            ffn_dim=32, num_layers=2,
        ),
        "vae": dict(base_dim=4, z_dim=4, dim_mult=[1, 1, 1, 2], num_res_blocks=1),
        "grid": (2, 4, 6), "tokens": 5, "video": (9, 8, 16), "shard": "40KB",
    },
    "small": {
        "transformer": dict(
            num_attention_heads=4, attention_head_dim=32, in_channels=16, out_channels=16, text_dim=96,
            freq_dim=64, ffn_dim=320, num_layers=4,
        ),
        "vae": dict(base_dim=16, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=2),
        "grid": (3, 10, 14), "tokens": 37, "video": (13, 48, 64), "shard": "2MB",
    },
}
# Wan-AI/Wan2.1-T2V-1.3B-Diffusers, transformer/config.json.
PUBLISHED = dict(
    patch_size=(1, 2, 2), num_attention_heads=12, attention_head_dim=128, in_channels=16, out_channels=16,
    text_dim=4096, freq_dim=256, ffn_dim=8960, num_layers=30, cross_attn_norm=True,
    qk_norm="rms_norm_across_heads", eps=1e-6, rope_max_seq_len=1024,
)
PIPELINE = dict(height=16, width=32, num_frames=5, num_inference_steps=3, guidance_scale=4.0)
SHIFT = 3.0


def disturb(module: torch.nn.Module) -> None:
    """Moves every parameter off its default: gains that are all one would hide that two are swapped."""
    for name, parameter in module.named_parameters():
        gain = "norm" in name and not name.endswith("bias")
        parameter.data += torch.randn_like(parameter) * (0.3 if gain else 0.02)


def published(directory: pathlib.Path) -> None:
    """The published sizes' configurations and tensor shapes, without a weight."""
    with torch.device("meta"):
        models = {"transformer": WanTransformer3DModel(**PUBLISHED), "vae": AutoencoderKLWan()}
    for name, model in models.items():
        model.save_config(directory / name)
        shapes = {key: list(tensor.shape) for key, tensor in model.state_dict().items()}
        (directory / name / "shapes.json").write_text(json.dumps(shapes))


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("directory", type=pathlib.Path)
    arguments = parser.parse_args()
    size, directory = SIZES[arguments.size], arguments.directory
    directory.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(20_26)

    channels = size["vae"]["z_dim"]
    statistics = dict(
        latents_mean=[round(0.3 * torch.randn(()).item(), 4) for _ in range(channels)],
        latents_std=[round(1.0 + torch.rand(()).item(), 4) for _ in range(channels)],
    )
    transformer = WanTransformer3DModel(**size["transformer"]).eval()
    vae = AutoencoderKLWan(**size["vae"], **statistics).eval()
    disturb(transformer)
    disturb(vae)
    transformer.save_pretrained(directory / "transformer", max_shard_size=size["shard"])
    vae.save_pretrained(directory / "vae")

    cases = {}
    text_dim, tokens = size["transformer"]["text_dim"], size["tokens"]
    cases["transformer.latents"] = torch.randn(2, channels, *size["grid"])
    cases["transformer.timesteps"] = torch.tensor([937.5, 12.0])
    cases["transformer.text"] = torch.randn(2, tokens, text_dim)
    cases["transformer.expected"] = transformer(
        cases["transformer.latents"], cases["transformer.timesteps"], cases["transformer.text"]
    ).sample

    frames, height, width = size["video"]
    cases["vae.video"] = torch.rand(1, 3, frames, height, width) * 2 - 1
    posterior = vae.encode(cases["vae.video"]).latent_dist
    cases["vae.mean"], cases["vae.log_variance"] = posterior.mean, posterior.logvar
    cases["vae.latents"] = torch.randn_like(posterior.mean)
    cases["vae.decoded"] = vae.decode(cases["vae.latents"]).sample

    embeddings = {name: torch.randn(count, text_dim) for name, count in [("prompt", tokens), ("negative", 3)]}
    for name, tensor in embeddings.items():
        save_file({"embeddings": tensor}, directory / f"{name}.safetensors")
    # As diffusers' text encoding does: zeros up to the model's 512 tokens.
    padded = {
        name: torch.cat([tensor, torch.zeros(512 - len(tensor), text_dim)])[None]
        for name, tensor in embeddings.items()
    }
    scheduler = FlowMatchEulerDiscreteScheduler(shift=SHIFT)
    pipeline = WanPipeline(
        tokenizer=None, text_encoder=None, transformer=transformer, vae=vae, scheduler=scheduler
    )
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(1, channels, 2, PIPELINE["height"] // 8, PIPELINE["width"] // 8)
    drawn = {
        kind: pipeline(
            prompt_embeds=padded["prompt"], negative_prompt_embeds=padded["negative"], latents=noise.clone(),
            output_type=kind, **PIPELINE,
        ).frames[0]
        for kind in ["latent", "pt"]
    }
    cases["pipeline.noise"] = noise
    cases["pipeline.latents"] = drawn["latent"][None]
    # [time, height, width, 3]
    cases["pipeline.frames"] = (drawn["pt"] * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    cases["pipeline.sigmas"] = scheduler.sigmas

    save_file({name: tensor.contiguous() for name, tensor in cases.items()}, directory / "cases.safetensors")
    if arguments.size == "small":
        published(directory / "published")
    for name, tensor in cases.items():
        values = tensor.float()
        print(f"{name:24} {list(tensor.shape)}  mean {values.mean():.3f}  std {values.std():.3f}")
    clipped = (cases["vae.decoded"].abs() == 1).float().mean()
    print(f"decoded values at the limits: {clipped:.1%}")


if __name__ == "__main__":
    main()
