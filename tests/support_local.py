"""Tiny models with random weights, in folders as ``save_pretrained`` writes them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from unisandbox.records import Generation, Image, Output, Prompt, Request, Turn

torch.set_num_threads(1)
QUESTIONS = (
    "Draw as many cups as 8 - 6 comes to.",
    "Draw a hat.",
    "Two objects: a red apple and a clock on a table. Draw the one that tells the time, and nothing else.",
    "A cat.",
    "Draw three keys.",
    "Draw a chair with four legs, please, from the left.",
    "Draw nothing but a bell.",
    "Draw five stars in a row.",
)


def asked(
    *turns: Turn | str,
    key: str = "a",
    seed: int = 3,
    output: Output = "image",
    images: tuple[Image, ...] = (),
) -> Request:
    """Return a request of these turns, the user's where they are texts."""
    put = tuple(turn if isinstance(turn, Turn) else Turn("user", turn, images) for turn in turns)
    return Request(key, Prompt(put, output), seed, "math_1", key, "direct")


def questions(output: Output = "image") -> list[Request]:
    """Return eight requests of different lengths, each with its seed."""
    return [
        asked(text, key=str(number), seed=10 + number, output=output) for number, text in enumerate(QUESTIONS)
    ]


def by_key(generations: Any) -> dict[str, Generation]:
    """Return generations by their key."""
    return {generation.key: generation for generation in generations}


def tokenizer(special: list[str], named: dict[str, str] | None = None, **more: Any) -> Any:
    """Return a byte-level tokenizer; special tokens come first."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=len(special) + 256,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(["draw"], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        extra_special_tokens=named or {},
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        **more,
    )


CHAT = (
    "{{bos_token}}{% for m in messages %}{{'<|User|>' if m.role == 'user' else '<|Assistant|>'}}"
    "{% for c in m.content %}{% if c.type == 'image' %}<image>\n{% else %}{{c.text}}{% endif %}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}<|Assistant|>{% endif %}"
)


def shaken(model: Any, seed: int = 0) -> Any:
    """Give every weight of a model a random value large enough for outputs to vary."""
    torch.manual_seed(seed)
    for name, weight in model.named_parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.1)
        elif name.endswith("bias"):
            torch.nn.init.normal_(weight, std=0.02)
    return model.eval()


TINY_JANUS: dict[str, dict[str, Any]] = {
    "text_config": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
    },
    "vision_config": {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "image_size": 48,
        "patch_size": 8,
        "projection_dim": 32,
        "num_image_tokens": 36,
        "mlp_ratio": 2,
    },
    "vq_config": {
        "embed_dim": 8,
        "num_embeddings": 64,
        "latent_channels": 32,
        "base_channels": 32,
        "channel_multiplier": [1, 2],
        "num_res_blocks": 1,
        "projection_dim": 32,
        "image_token_embed_dim": 32,
        "num_hidden_layers": 2,
    },
}
"""A Janus of 36 tokens a picture."""


def save_janus(folder: Path, sizes: dict[str, dict[str, Any]] = TINY_JANUS) -> Path:
    """Write a Janus; what ``sizes`` leaves out is as in Janus-Pro."""
    from transformers import GenerationConfig, JanusConfig, JanusForConditionalGeneration, JanusProcessor
    from transformers.models.janus.image_processing_pil_janus import JanusImageProcessorPil

    words = tokenizer(
        ["<pad>", "<bos>", "<eos>", "<image>", "<boi>", "<eoi>", "<|User|>", "<|Assistant|>"],
        {"image_token": "<image>", "boi_token": "<boi>", "eoi_token": "<eoi>"},
        padding_side="left",
    )
    text = {"model_type": "llama", "vocab_size": len(words), **sizes["text_config"]}
    image_token = words.convert_tokens_to_ids("<image>")
    parts: dict[str, Any] = {**sizes, "text_config": text}
    config: Any = JanusConfig(**parts, image_token_id=image_token)
    model = shaken(JanusForConditionalGeneration(config))
    model.generation_config = GenerationConfig(
        pad_token_id=0, bos_token_id=1, eos_token_id=2, generation_kwargs={"boi_token_id": 4}
    )
    model.save_pretrained(folder)
    sight = config.vision_config
    reads = JanusImageProcessorPil(size={"height": sight.image_size, "width": sight.image_size})
    JanusProcessor(reads, words, chat_template=CHAT, num_image_tokens=sight.num_image_tokens).save_pretrained(
        folder
    )
    return folder


def save_emu3(folder: Path) -> Path:
    """Write an Emu3 that draws 32 x 32 pixels as 4 lines of 4 tokens."""
    from transformers import Emu3Config, Emu3ForConditionalGeneration, Emu3ImageProcessor, Emu3Processor

    seen = [f"<|visual token {number:06d}|>" for number in range(64)]
    words = tokenizer(
        [
            "<pad>",
            "<bos>",
            "<eos>",
            "<image>",
            "<boi>",
            "<eoi>",
            "<wrapper>",
            "<|extra_200|>",
            "<eof>",
            *seen,
        ],
        {
            "image_token": "<image>",
            "boi_token": "<boi>",
            "eoi_token": "<eoi>",
            "image_wrapper_token": "<wrapper>",
            "eof_token": "<eof>",
        },
        padding_side="left",
    )
    config = Emu3Config(
        vq_config={
            "codebook_size": 64,
            "embed_dim": 4,
            "latent_channels": 4,
            "base_channels": 32,
            "channel_multiplier": [1, 2, 2, 1],
            "num_res_blocks": 1,
            "hidden_size": 32,
            "attn_resolutions": [3],
            "num_attention_heads": 1,
        },
        text_config={
            "vocab_size": len(words),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 1024,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        vocabulary_map=dict(words.get_vocab()),
    )
    shaken(Emu3ForConditionalGeneration(config)).save_pretrained(folder)
    reads = Emu3ImageProcessor(min_pixels=32 * 32, max_pixels=32 * 32)
    chat = (
        CHAT.replace("{{bos_token}}", "")
        .replace("<|User|>", "USER: ")
        .replace("<|Assistant|>", " ASSISTANT:")
    )
    Emu3Processor(reads, words, chat_template=chat).save_pretrained(folder)
    return folder


def save_adapter(base: Path, folder: Path) -> Path:
    """Write a LoRA, with random weights, of the language model of a checkpoint."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(base)
    targets = r".*language_model.*\.(q_proj|v_proj)|.*text_model.*\.(q_proj|v_proj)"
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`")  # peft behind transformers
    adapted = get_peft_model(
        model, LoraConfig(r=2, lora_alpha=8, target_modules=targets, init_lora_weights=False)
    )
    adapted.save_pretrained(str(folder))
    return folder


def save_pipeline(folder: Path) -> Path:
    """Write a Stable Diffusion that draws 32 x 32 pixels."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    words = tokenizer(["<pad>", "<bos>", "<eos>"], model_max_length=77)
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=32,
            intermediate_size=37,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=77,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        )
    )
    unet = UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        sample_size=16,
        in_channels=4,
        out_channels=4,
        norm_num_groups=4,
        cross_attention_dim=32,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )
    images = AutoencoderKL(
        block_out_channels=(8, 16),
        norm_num_groups=4,
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )
    made: Any = StableDiffusionPipeline(
        vae=shaken(images),
        text_encoder=shaken(text),
        tokenizer=words,
        unet=shaken(unet),
        scheduler=DDIMScheduler(clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    made.save_pretrained(folder)
    return folder


def save_writer(folder: Path) -> Path:
    """Write a language model with a chat template."""
    from transformers import LlamaConfig, LlamaForCausalLM

    words = tokenizer(["<pad>", "<bos>", "<eos>", "<|User|>", "<|Assistant|>"])
    words.chat_template = (
        "{{bos_token}}{% for m in messages %}{{'<|User|>' if m.role == 'user' else '<|Assistant|>'}}"
        "{{m.content}}{% endfor %}{% if add_generation_prompt %}<|Assistant|>{% endif %}"
    )
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    shaken(LlamaForCausalLM(config)).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def save_cosmos(folder: Path) -> Path:
    """Write a Cosmos3, which takes one prompt a call."""
    from diffusers import (
        AutoencoderKLWan,
        Cosmos3OmniPipeline,
        Cosmos3OmniTransformer,
        UniPCMultistepScheduler,
    )

    words = tokenizer(["<pad>", "<bos>", "<eos>", "<|vision_start|>", "<|vision_end|>"])
    words.chat_template = "{% for m in messages %}<bos>{{m.content}}{% endfor %}"
    transformer = Cosmos3OmniTransformer(
        head_dim=6,
        hidden_act="relu2",
        hidden_size=6,
        intermediate_size=12,
        latent_channel=16,
        latent_patch_size=1,
        num_attention_heads=1,
        num_hidden_layers=1,
        num_key_value_heads=1,
        patch_latent_dim=16,
        qk_norm_for_text=False,
        rope_axes_dim=[1, 1, 1],
        vocab_size=len(words),
    )
    images = AutoencoderKLWan(base_dim=3, z_dim=16, dim_mult=[1] * 4, num_res_blocks=1)
    made: Any = Cosmos3OmniPipeline(
        transformer=shaken(transformer),
        text_tokenizer=words,
        vae=shaken(images),
        scheduler=UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction"),
        enable_safety_checker=False,
    )
    made.save_pretrained(folder)
    return folder
