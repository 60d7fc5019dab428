"""BAGEL, run by its authors' code in its own environment, with the sampling settings of arXiv 2511.20561.

    unisandbox run --models 'command:cmd=examples/bagel_worker.py --repo ~/Bagel --weights ~/BAGEL-7B-MoT,
        python=~/miniconda3/envs/bagel/bin/python,timeout=1800'        (on one line)

``--repo``: a checkout of github.com/ByteDance-Seed/Bagel, installed as its README says. ``--weights``: the
folder of BAGEL-7B-MoT, or of a model made from it; ``--checkpoint``: the file in it (``ema.safetensors``).
docs/command.md says what of this was tested, and on what.
"""

import argparse
import hashlib
import json
import os
import platform
import random
import re
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

from PIL import Image

SHAPE = (1024, 1024)
PAINTING: dict[str, Any] = {
    "num_timesteps": 50,
    "timestep_shift": 3.0,
    "cfg_text_scale": 4.0,
    "cfg_img_scale": 1.0,
    "cfg_interval": [0.4, 1.0],
    "cfg_renorm_min": 0.0,
    "cfg_renorm_type": "global",
}
WRITING: dict[str, Any] = {"max_think_token_n": 1000, "do_sample": False}

TOGETHER = (
    "language_model.model.embed_tokens",
    "time_embedder",
    "latent_pos_embed",
    "vae2llm",
    "llm2vae",
    "connector",
    "vit_pos_embed",
)
"""Modules that the authors' code wants on one device."""


def load(weights: Path, checkpoint: str) -> Any:
    """Return the authors' inferencer, as their README loads it: bfloat16, over all devices there are."""
    import torch
    from accelerate import infer_auto_device_map, init_empty_weights, load_checkpoint_and_dispatch
    from data.data_utils import add_special_tokens
    from data.transforms import ImageTransform
    from inferencer import InterleaveInferencer
    from modeling.autoencoder import load_ae
    from modeling.bagel import (
        Bagel,
        BagelConfig,
        Qwen2Config,
        Qwen2ForCausalLM,
        SiglipVisionConfig,
        SiglipVisionModel,
    )
    from modeling.qwen2 import Qwen2Tokenizer

    words = Qwen2Config.from_json_file(str(weights / "llm_config.json"))
    words.qk_norm, words.tie_word_embeddings, words.layer_module = True, False, "Qwen2MoTDecoderLayer"
    sight = SiglipVisionConfig.from_json_file(str(weights / "vit_config.json"))
    sight.rope, sight.num_hidden_layers = False, sight.num_hidden_layers - 1
    vae, vae_config = load_ae(local_path=str(weights / "ae.safetensors"))
    config = BagelConfig(
        visual_gen=True,
        visual_und=True,
        llm_config=words,
        vit_config=sight,
        vae_config=vae_config,
        vit_max_num_patch_per_side=70,
        connector_act="gelu_pytorch_tanh",
        latent_patch_size=2,
        max_latent_size=64,
    )
    with init_empty_weights():
        model = Bagel(Qwen2ForCausalLM(words), SiglipVisionModel(sight), config)
        model.vit_model.vision_model.embeddings.convert_conv2d_to_linear(sight, meta=True)
    cards = torch.cuda.device_count()
    places = infer_auto_device_map(
        model,
        max_memory=dict.fromkeys(range(cards), "80GiB"),
        no_split_module_classes=["Bagel", "Qwen2MoTDecoderLayer"],
    )
    first = places.get(TOGETHER[0], "cuda:0")
    places.update({name: first for name in TOGETHER if name in places or cards == 1})
    model = load_checkpoint_and_dispatch(
        model,
        checkpoint=str(weights / checkpoint),
        device_map=places,
        offload_buffers=True,
        dtype=torch.bfloat16,
        force_hooks=True,
    ).eval()
    tokenizer, new_token_ids, _ = add_special_tokens(Qwen2Tokenizer.from_pretrained(str(weights)))
    return InterleaveInferencer(
        model=model,
        vae_model=vae,
        tokenizer=tokenizer,
        vae_transform=ImageTransform(1024, 512, 16),
        vit_transform=ImageTransform(980, 224, 14),
        new_token_ids=new_token_ids,
    )


def seed_everything(seed: int) -> None:
    """Let every random draw of one answer follow its own seed."""
    import numpy
    import torch

    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)  # of all devices


def answer(model: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Return what BAGEL says or paints."""
    seed_everything(request["seed"])
    turns, think = request["turns"], request["think"]
    texts = [f"<think>{turn['text']}</think>" if turn["thought"] else turn["text"] for turn in turns]
    if request["output"] == "text":
        images = [Image.open(path).convert("RGB") for turn in turns for path in turn["images"]]
        (said,) = model.interleave_inference([*images, *texts], think, understanding_output=True, **WRITING)
        thought, text = split(said) if think else (None, said)
        return {"text": text, "thought": thought}
    if len(texts) > 1:
        thought, picture = None, paint_after(model, texts)
    else:
        *thoughts, picture = model.interleave_inference(
            texts, think, image_shapes=SHAPE, **WRITING, **PAINTING
        )
        thought = re.sub(r"</?think>", "", thoughts[0]).strip() if thoughts else None
    picture.save(request["save_as"])
    return {"image": request["save_as"], "thought": thought}


def paint_after(model: Any, texts: list[str]) -> Image.Image:
    """Paint what a conversation comes to, guided away from none at all.

    ``interleave_inference`` would guide away from all of it but its last text: for a thought of the model's
    own it does not.
    """
    import torch

    context = model.init_gen_context()
    nothing = deepcopy(context)
    with torch.autocast(device_type="cuda", enabled=True, dtype=torch.bfloat16):
        for text in texts:
            context = model.update_context_text(text, context)
        picture: Image.Image = model.gen_image(
            SHAPE, context, cfg_text_precontext=nothing, cfg_img_precontext=deepcopy(context), **PAINTING
        )
    return picture


def split(said: str) -> tuple[str, str]:
    """Return the thought and what follows it.

    >>> split("<think>8 / 4 is 2.</think>2 cups")
    ('8 / 4 is 2.', '2 cups')
    """
    thought, _, rest = said.rpartition("</think>")
    return thought.replace("<think>", "").strip(), rest.strip()


def digest(path: Path, pieces: int = 64, size: int = 1 << 20) -> str:
    """Return a digest of a large file from pieces all over it."""
    length = path.stat().st_size
    found = hashlib.sha256(str(length).encode())
    with path.open("rb") as file:
        for number in range(pieces):
            file.seek(length * number // pieces)
            found.update(file.read(size))
    return found.hexdigest()[:32]


def main() -> None:
    """Load the model, say hello, answer until there is no more to ask."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print goes to the log

    def say(**line: Any) -> None:
        print(json.dumps(line), file=answers, flush=True)

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repo", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--checkpoint", default="ema.safetensors")
    options = parser.parse_args()
    for path in (options.repo / "inferencer.py", options.weights / options.checkpoint):
        if not path.is_file():
            sys.exit(f"there is no file {path}")
    sys.path.insert(0, str(options.repo))
    import torch

    model = load(options.weights, options.checkpoint)
    say(
        protocol=1,
        model=options.weights.resolve().name,
        does=["image", "text", "think", "see"],
        weights=digest(options.weights / options.checkpoint),
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        dtype="bfloat16",
        sampling={**PAINTING, **WRITING, "image_shapes": SHAPE},
        versions={"python": platform.python_version(), "torch": torch.__version__},
    )
    for line in sys.stdin:
        request = json.loads(line)
        try:
            say(key=request["key"], **answer(model, request))
        except Exception as error:
            say(key=request["key"], error=f"{type(error).__name__}: {error}")
            if "CUDA error" in str(error):  # such a process draws nothing any more; a new one will
                raise


if __name__ == "__main__":
    main()
