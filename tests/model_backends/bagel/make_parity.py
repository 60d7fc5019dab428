"""Makes ``parity.safetensors``: a tiny random BAGEL, and what the code of its authors makes of it in float32.

And ``official.json``: names and shapes of the weights of BAGEL-7B-MoT, by the same code on the meta device.

    git clone https://github.com/ByteDance-Seed/Bagel && git -C Bagel checkout 056b5fd
    pip install torch transformers==4.49.0 torchvision opencv-python-headless decord pyarrow einops
    python tests/model_backends/bagel/make_parity.py Bagel

It runs on a CPU. Four things of the authors' code are replaced: flash-attn's ``flash_attn_varlen_func`` by
the plain attention below, ``torch.bfloat16`` in the two modules of attention by float32, the draw from the
autoencoder's distribution by its mean, and their instruction to think by INSTRUCTION. Nothing of theirs is
kept in the file but numbers.
"""

import argparse
import importlib.machinery
import json
import re
import sys
import types
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

LLM = {
    "vocab_size": 264,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e6,
    "max_position_embeddings": 512,
    "hidden_act": "silu",
}
VIT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "patch_size": 4,
    "image_size": 24,
}
CHANNELS, LATENT_CHANNELS, MULTIPLIERS, BLOCKS = 32, 4, [1, 2], 1
PATCH, SIDE = 2, 8
"""Latents a side of a token, and tokens a side at most."""
SHAPE = (16, 24)
"""Height and width of pictures, in pixels."""
TIMES = (1.0, 0.9, 0.7, 0.5, 0.2)
GUIDANCE: dict[str, dict[str, Any]] = {
    "none": {"cfg_text_scale": 1.0},
    "text": {"cfg_text_scale": 4.0},
    "both": {"cfg_text_scale": 4.0, "cfg_img_scale": 1.5},
}
RENORMS = ("global", "channel", "text_channel")
PROMPTS = ("Draw as many cups as 8 / 4 comes to.", "A cat.")
INSTRUCTION = "Think between <think> and </think>, then draw."
"""What stands before a question that is thought about, in place of the authors' words."""
MOST_THOUGHT = 12
PUBLISHED: dict[str, Any] = {
    "cfg_text_scale": 4.0,
    "cfg_img_scale": 1.0,
    "cfg_interval": [0.4, 1.0],
    "cfg_renorm_min": 0.0,
    "cfg_renorm_type": "global",
    "timestep_shift": 3.0,
    "num_timesteps": 50,
}
Kept = dict[str, Tensor]


def write_tokenizer(folder: Path) -> None:
    """Write a Qwen2 tokenizer whose tokens are bytes; who loads it adds what frames texts and pictures."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = (chr(256 + number) for number in range(256))
    alphabet = {byte: chr(byte) if byte in plain else next(others) for byte in range(256)}
    vocabulary = {letter: byte for byte, letter in alphabet.items()} | {"<|endoftext|>": 256}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    settings = {"tokenizer_class": "Qwen2Tokenizer", "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def attention(q: Tensor, k: Tensor, v: Tensor, *, causal: bool, **lengths: Any) -> Tensor:
    """Attend within sequences that lie behind one another (tokens, heads, width), as flash-attn's does."""
    queries, keys = (lengths[f"cu_seqlens_{kind}"].diff().tolist() for kind in "qk")
    groups = q.shape[1] // k.shape[1]
    k, v = (each.repeat_interleave(groups, 1) for each in (k, v))
    outs = []
    pieces = (torch.split(q, queries), torch.split(k, keys), torch.split(v, keys))
    for one_q, one_k, one_v in zip(*pieces, strict=True):
        rows, columns = len(one_q), len(one_k)
        mask = torch.ones(rows, columns, dtype=torch.bool).tril(columns - rows) if causal else None
        seen = torch.nn.functional.scaled_dot_product_attention(
            one_q.transpose(0, 1), one_k.transpose(0, 1), one_v.transpose(0, 1), mask
        )
        outs.append(seen.transpose(0, 1))
    return torch.cat(outs)


class Float32(types.ModuleType):
    """torch, with float32 in the place of bfloat16."""

    bfloat16 = torch.float32

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def stand_in(repository: Path) -> None:
    """Make the authors' modules importable here, in float32."""
    sys.path.insert(0, str(repository))
    flash: Any = types.ModuleType("flash_attn")
    flash.__spec__ = importlib.machinery.ModuleSpec("flash_attn", None)
    flash.flash_attn_varlen_func = attention
    sys.modules["flash_attn"] = flash
    from modeling.bagel import qwen2_navit, siglip_navit

    for module in (qwen2_navit, siglip_navit):
        module.torch = Float32("torch")
    qwen2_navit.sdpa_kernel = lambda **kernels: nullcontext()


def build() -> tuple[Any, Any]:
    """Return model and autoencoder with random weights large enough for everything to matter."""
    from modeling.autoencoder import AutoEncoder, AutoEncoderParams

    params = AutoEncoderParams(
        resolution=32,
        in_channels=3,
        downsample=2 ** (len(MULTIPLIERS) - 1),
        ch=CHANNELS,
        out_ch=3,
        ch_mult=MULTIPLIERS,
        num_res_blocks=BLOCKS,
        z_channels=LATENT_CHANNELS,
        scale_factor=0.3611,
        shift_factor=0.1159,
    )
    vae = AutoEncoder(params).eval()
    vae.reg.sample = False
    model = assembled(LLM, VIT, params, PATCH, SIDE).eval()
    model.language_model.model.enable_taylorseer = False  # as every run of the sampler sets it
    torch.manual_seed(0)
    for part in (model, vae):
        for name, weight in part.named_parameters():
            if name.endswith("pos_embed"):
                continue
            if weight.dim() > 1:
                torch.nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
            else:
                torch.nn.init.normal_(weight, float(name.endswith("weight")), 0.1)
    with torch.no_grad():  # thoughts are of printable letters, and some come to an end
        head = model.language_model.lm_head.weight
        printable = [*range(32, 127)]
        head[[token for token in range(len(head)) if token not in (*printable, 258)]] = 0
        model.language_model.model.embed_tokens.weight *= 4
    return model, vae


def assembled(llm: dict[str, Any], vit: dict[str, Any], vae_config: Any, patch: int, side: int) -> Any:
    """Put a model together as the authors' ``app.py`` does."""
    from modeling.bagel import (
        Bagel,
        BagelConfig,
        Qwen2Config,
        Qwen2ForCausalLM,
        SiglipVisionConfig,
        SiglipVisionModel,
    )

    words = Qwen2Config(**llm)
    words.qk_norm, words.tie_word_embeddings, words.layer_module = True, False, "Qwen2MoTDecoderLayer"
    sight = SiglipVisionConfig(**vit)
    sight.rope, sight.num_hidden_layers = False, sight.num_hidden_layers - 1
    config = BagelConfig(
        visual_gen=True,
        visual_und=True,
        llm_config=words,
        vit_config=sight,
        vae_config=vae_config,
        vit_max_num_patch_per_side=vit["image_size"] // vit["patch_size"],
        connector_act="gelu_pytorch_tanh",
        latent_patch_size=patch,
        max_latent_size=side,
    )
    model = Bagel(Qwen2ForCausalLM(words), SiglipVisionModel(sight), config)
    is_meta = model.llm2vae.weight.device.type == "meta"
    model.vit_model.vision_model.embeddings.convert_conv2d_to_linear(sight, meta=is_meta)
    return model


@contextmanager
def heard(module: torch.nn.Module) -> Iterator[list[Tensor]]:
    """Keep what a module returns."""
    kept: list[Tensor] = []
    handle = module.register_forward_hook(lambda _, put, out: kept.append(out))
    yield kept
    handle.remove()


def picture(seed: int) -> Tensor:
    """Return random pixels (3, height, width) between -1 and 1."""
    return torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def words(kept: Kept, inferencer: Any) -> None:
    """Keep the scores of words behind a text, and behind a picture and a text."""
    model, tokenizer = inferencer.model, inferencer.tokenizer
    put, _, _ = model.prepare_prompts([0], [0], [PROMPTS[0]], tokenizer, inferencer.new_token_ids)
    out = model.language_model.forward_inference(
        packed_query_sequence=model.language_model.model.embed_tokens(put["packed_text_ids"]),
        query_lens=put["text_token_lens"],
        packed_query_position_ids=put["packed_text_position_ids"],
        packed_query_indexes=put["packed_text_indexes"],
        update_past_key_values=False,
        mode="und",
    )
    kept["text/ids"] = put["packed_text_ids"]
    kept["text/logits"] = model.language_model.lm_head(out.packed_query_sequence)
    context = inferencer.update_context_image(picture(1), inferencer.init_gen_context(), vae=False)
    context = inferencer.update_context_text(PROMPTS[1], context)
    with heard(model.language_model.lm_head) as scores:
        inferencer.gen_text(context, max_length=8, do_sample=False)
    kept["caption/pixels"] = picture(1)
    kept["caption/logits"] = torch.cat(scores)


def velocities(kept: Kept, inferencer: Any) -> None:
    """Keep the velocity behind a picture and a text, at five times, with and without guidance."""
    model = inferencer.model
    start = inferencer.init_gen_context
    whole, no_text = (inferencer.update_context_image(picture(2), start()) for _ in range(2))
    whole = inferencer.update_context_text(PROMPTS[0], whole)
    no_picture = inferencer.update_context_text(PROMPTS[0], start())
    torch.manual_seed(3)
    put = model.prepare_vae_latent(whole["kv_lens"], whole["ropes"], [SHAPE], inferencer.new_token_ids)
    noise = put.pop("packed_init_noises")
    put["past_key_values"] = whole["past_key_values"]
    for name, less in (("text", no_text), ("img", no_picture)):
        made = model.prepare_vae_latent_cfg(less["kv_lens"], less["ropes"], [SHAPE])
        put |= {key.replace("cfg_", f"cfg_{name}_"): value for key, value in made.items()}
        put[f"cfg_{name}_past_key_values"] = less["past_key_values"]
    kept["velocity/pixels"], kept["velocity/noise"] = picture(2), noise
    for time in TIMES:
        for guidance, scales in GUIDANCE.items():
            for renorm in RENORMS if guidance != "none" else ("global",):
                for least in (0.0, 0.9) if guidance == "both" else (0.0,):
                    kept[f"velocity/{time}/{guidance}/{renorm}/{least}"] = model._forward_flow(
                        x_t=noise,
                        timestep=torch.full((len(noise),), time),
                        cfg_renorm_type=renorm,
                        cfg_renorm_min=least,
                        **scales,
                        **put,
                    )


def runs(kept: Kept, inferencer: Any) -> dict[str, str]:
    """Keep whole runs: think, then draw, with the published settings; return the thoughts."""
    vae = inferencer.vae_model
    thoughts = {}
    for number, prompt in enumerate(PROMPTS):
        torch.manual_seed(number)
        noise = torch.randn(SHAPE[0] * SHAPE[1] // 16, PATCH**2 * LATENT_CHANNELS)
        torch.manual_seed(number)
        decoded: list[Tensor] = []
        inferencer.decode_image = lambda latent, shape, to=decoded: to.append(latent)
        thought, _ = inferencer.interleave_inference(
            [prompt], think=True, max_think_token_n=MOST_THOUGHT, image_shapes=SHAPE, **PUBLISHED
        )
        thoughts[prompt] = thought
        kept[f"run/{number}/noise"], kept[f"run/{number}/latents"] = noise, decoded[0]
        kept[f"run/{number}/thought"] = torch.tensor(inferencer.tokenizer.encode(thought))
    del inferencer.decode_image
    height, width = (size // 4 for size in SHAPE)
    grid = kept["run/0/latents"].reshape(height, width, PATCH, PATCH, LATENT_CHANNELS)
    latent = torch.einsum("hwpqc->chpwq", grid).reshape(1, LATENT_CHANNELS, height * PATCH, width * PATCH)
    kept["vae/decoded"], kept["vae/encoded"] = vae.decode(latent)[0], vae.encode(picture(4)[None])[0]
    kept["vae/pixels"] = picture(4)
    return thoughts


def training(kept: Kept, inferencer: Any) -> dict[str, float]:
    """Keep a packed batch as the authors' dataset makes it; return the losses, and the norms of gradients."""
    from data.data_utils import get_flattened_position_ids_extrapolate
    from data.dataset_base import DataConfig, PackedDataset

    model, vae, tokenizer = inferencer.model, inferencer.vae_model, inferencer.tokenizer
    settings = DataConfig(
        grouped_datasets={},
        text_cond_dropout_prob=0.0,
        vit_cond_dropout_prob=0.0,
        vae_cond_dropout_prob=0.0,
        vae_image_downsample=4,
        max_latent_size=SIDE,
        vit_patch_size=VIT["patch_size"],
        max_num_patch_per_side=6,
    )
    packs: Any = types.SimpleNamespace(
        data_config=settings,
        use_flex=False,
        get_flattened_position_ids=get_flattened_position_ids_extrapolate,
        **inferencer.new_token_ids,
    )
    ids = {text: tokenizer.encode(text) for text in (*PROMPTS, "Two.")}

    def step(kind: str, loss: int) -> dict[str, Any]:
        return {
            "type": kind,
            "loss": loss,
            "enable_cfg": 0,
            "special_token_loss": 0,
            "special_token_label": None,
        }

    samples: Any = (  # a picture from a text; a text from a text; a text from a picture
        ([step("text", 0), step("vae_image", 1)], [PROMPTS[0]], [picture(5)]),
        ([step("text", 0), step("text", 1)], [PROMPTS[0], "Two."], []),
        ([step("vit_image", 0), step("text", 1)], [PROMPTS[1]], [picture(6)]),
    )
    status = PackedDataset.set_sequence_status(packs)
    import numpy as np

    np.random.seed(7)
    for plan, texts, pictures in samples:
        sample = {
            "sequence_plan": plan,
            "text_ids_list": [ids[text] for text in texts],
            "image_tensor_list": list(pictures),
        }
        status = PackedDataset.pack_sequence(packs, sample, status)
    batch = PackedDataset.to_tensor(packs, status)
    batch.pop("ce_loss_weights")
    with torch.no_grad():
        batch["padded_latent"] = vae.encode(batch.pop("padded_images"))
    batch["packed_timesteps"] = batch["packed_timesteps"].float()
    torch.manual_seed(8)
    noise = torch.randn(len(batch["packed_timesteps"]), PATCH**2 * LATENT_CHANNELS)
    torch.manual_seed(8)
    model.train()
    losses = model(**batch)
    model.eval()
    ce, mse = losses["ce"].mean(), losses["mse"].mean()
    (ce + mse).backward()
    kept["train/pixels_drawn"], kept["train/pixels_seen"] = picture(5), picture(6)
    kept["train/noise"], kept["train/time"] = noise, torch.sigmoid(batch["packed_timesteps"])[0]
    kept["train/ce"], kept["train/mse"] = losses["ce"].detach(), losses["mse"].detach()
    norms = {
        f"gradient of {name}": weight.grad.norm().item()
        for name, weight in model.named_parameters()
        if name in GRADIENTS
    }
    return {"ce": ce.item(), "mse": mse.item(), **norms}


GRADIENTS = (
    "language_model.model.embed_tokens.weight",
    "language_model.model.layers.0.self_attn.q_proj.weight",
    "language_model.model.layers.0.self_attn.k_proj_moe_gen.weight",
    "language_model.model.layers.1.mlp_moe_gen.down_proj.weight",
    "language_model.model.layers.1.mlp.down_proj.weight",
    "vae2llm.weight",
    "llm2vae.weight",
    "connector.fc1.weight",
)


OFFICIAL_LLM = {
    "vocab_size": 152064,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
}
OFFICIAL_VIT = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "patch_size": 14,
    "image_size": 980,
}


def collapsed(weights: dict[str, Tensor]) -> dict[str, int]:
    """Return names, with * for the number of a layer, and shapes, with how many there are of each."""
    return dict(
        sorted(
            Counter(
                f"{re.sub(r'layers[.][0-9]+', 'layers.*', name)} {list(weight.shape)}"
                for name, weight in weights.items()
            ).items()
        )
    )


def official() -> dict[str, Any]:
    """Return the weights of the published files, by the authors' code at the published sizes."""
    from modeling.autoencoder import load_ae

    with torch.device("meta"):
        vae, params = load_ae(None)
        model = assembled(OFFICIAL_LLM, OFFICIAL_VIT, params, 2, 64)
    return {
        "ema.safetensors": collapsed(model.state_dict()),
        "ae.safetensors": collapsed(vae.state_dict()),
        "parameters": sum(weight.numel() for weight in model.state_dict().values()),
    }


def main() -> None:
    """Make the files beside this one."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("repository", type=Path, help="a checkout of github.com/ByteDance-Seed/Bagel")
    options = parser.parse_args()
    torch.set_num_threads(1)
    stand_in(options.repository)
    import tempfile

    import inferencer as theirs
    from data.data_utils import add_special_tokens
    from modeling.qwen2 import Qwen2Tokenizer
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer(Path(folder))
        tokenizer, frame, _ = add_special_tokens(Qwen2Tokenizer.from_pretrained(folder))
    listing = json.dumps(official(), indent=1) + "\n"
    Path(__file__).with_name("official.json").write_text(listing, encoding="utf-8")
    model, vae = build()
    theirs.GEN_THINK_SYSTEM_PROMPT = INSTRUCTION
    inferencer = theirs.InterleaveInferencer(
        model=model,
        vae_model=vae,
        tokenizer=tokenizer,
        vae_transform=lambda pixels: pixels,
        vit_transform=lambda pixels: pixels,
        new_token_ids=frame,
    )
    kept: Kept = {}
    with torch.no_grad():
        words(kept, inferencer)
        velocities(kept, inferencer)
        thoughts = runs(kept, inferencer)
    losses = training(kept, inferencer)
    told = {"llm": LLM, "vit": VIT, "frame": frame, "thoughts": thoughts, "losses": losses}
    kept |= {f"ema/{name}": weight for name, weight in model.state_dict().items()}
    kept |= {f"ae/{name}": weight for name, weight in vae.state_dict().items()}
    whole = {name: each.detach().contiguous().clone() for name, each in kept.items()}
    save_file(whole, Path(__file__).with_name("parity.safetensors"), {"told": json.dumps(told)})
    print(json.dumps(told, indent=1), len(whole), "tensors")


if __name__ == "__main__":
    main()
