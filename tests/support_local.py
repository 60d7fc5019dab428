"""Tiny models with random weights in the folders that ``save_pretrained`` writes, for the real way of loading."""

from __future__ import annotations

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
    *turns: Turn | str, key: str = "a", seed: int = 3, output: Output = "image", images: tuple[Image, ...] = ()
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


def save_janus(folder: Path) -> Path:
    """Write a Janus of 36 tokens a picture."""
    from transformers import GenerationConfig, JanusConfig, JanusForConditionalGeneration, JanusProcessor
    from transformers.models.janus.image_processing_pil_janus import JanusImageProcessorPil

    words = tokenizer(
        ["<pad>", "<bos>", "<eos>", "<image>", "<boi>", "<eoi>", "<|User|>", "<|Assistant|>"],
        {"image_token": "<image>", "boi_token": "<boi>", "eoi_token": "<eoi>"},
        padding_side="left",
    )
    config = JanusConfig(
        text_config={
            "model_type": "llama",
            "vocab_size": len(words),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
        },
        vision_config={
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "image_size": 48,
            "patch_size": 8,
            "projection_dim": 32,
            "num_image_tokens": 36,
            "mlp_ratio": 2,
        },
        vq_config={
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
        image_token_id=words.convert_tokens_to_ids("<image>"),
    )
    model = shaken(JanusForConditionalGeneration(config))
    model.generation_config = GenerationConfig(
        pad_token_id=0, bos_token_id=1, eos_token_id=2, generation_kwargs={"boi_token_id": 4}
    )
    model.save_pretrained(folder)
    reads = JanusImageProcessorPil(size={"height": 48, "width": 48})
    JanusProcessor(reads, words, chat_template=CHAT, num_image_tokens=36).save_pretrained(folder)
    return folder
