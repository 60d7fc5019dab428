"""A tiny vision-language model that knows a few pictures by heart, in the folder of ``save_pretrained``.

It is a real LLaVA with a real processor and chat template, taught here in seconds from random weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from tests.support_local import shaken
from unisandbox.records import Image

torch.set_num_threads(1)
SPECIAL = ["<pad>", "<bos>", "<eos>", "<image>"]
CHAT = (
    "{% for m in messages %}{{m.role}}: {% for c in m.content %}"
    "{% if c.type == 'image' %}<image>{% else %}{{c.text}}{% endif %}{% endfor %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:\n{% endif %}"
)
Lesson = tuple[str, Image | None, str]
"""What it is asked, the picture with it, and what it is to reply."""


def taught(folder: Path, lessons: Sequence[Lesson], steps: int = 60) -> Path:
    """Write a model that replies as it was taught, and that would sample if it were left to itself."""
    words = _tokenizer([text for lesson in lessons for text in (lesson[0], lesson[2])])
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size={"height": 32, "width": 32}, do_center_crop=False),
        words,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT,
    )
    model = _model(words)
    kinds = [[lesson for lesson in lessons if (lesson[1] is not None) == seen] for seen in (True, False)]
    batches = [_batch(processor, some) for some in kinds if some]
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        for batch in batches:
            model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.generation_config = GenerationConfig(
        bos_token_id=1, eos_token_id=2, pad_token_id=0, do_sample=True, temperature=0.7, top_p=0.8
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _tokenizer(texts: Sequence[str]) -> Any:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=800, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        extra_special_tokens={"image_token": "<image>"},
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
    )


def _model(words: Any) -> Any:
    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config={
            "model_type": "clip_vision_model",
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "image_size": 32,
            "patch_size": 8,
            "projection_dim": 32,
        },
        text_config={
            "model_type": "llama",
            "vocab_size": len(words),
            "hidden_size": 48,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 2048,
        },
        image_token_index=words.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
    )
    return shaken(LlavaForConditionalGeneration(config))


def _batch(processor: Any, lessons: Sequence[Lesson]) -> Mapping[str, torch.Tensor]:
    """Return questions with their replies, of which only the replies are to be learnt."""
    prompts = [
        processor.apply_chat_template(
            [
                {
                    "role": "user",
                    "content": [{"type": "image"}] * bool(image) + [{"type": "text", "text": text}],
                }
            ],
            add_generation_prompt=True,
        )
        for text, image, _ in lessons
    ]
    replies = [f"{reply}<eos>" for _, _, reply in lessons]
    processor.tokenizer.padding_side = "left"
    inputs = processor(
        text=[prompt + reply for prompt, reply in zip(prompts, replies, strict=True)],
        images=[image.pil() for _, image, _ in lessons if image] or None,
        padding=True,
        return_tensors="pt",
    )
    labels = torch.full_like(inputs["input_ids"], -100)
    for row, reply in enumerate(replies):
        last = len(processor.tokenizer(reply)["input_ids"])
        labels[row, -last:] = inputs["input_ids"][row, -last:]
    return {**inputs, "labels": labels}
