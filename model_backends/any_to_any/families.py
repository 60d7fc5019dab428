"""The families of models that read and draw: how each is asked, and how its tokens become pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, LogitsProcessorList

from unisandbox.errors import BackendError, UsageError
from unisandbox.loading import Precision, checkpoint, digest, one_line, placed, precision
from unisandbox.model_backends.any_to_any.rows import Inputs
from unisandbox.model_backends.any_to_any.sampling import Grid, Guided
from unisandbox.records import Turn
from unisandbox.training.adapters import merged

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

NAME = "any-to-any"


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the tokens of pictures are chosen; None: as the family's authors do."""

    guidance: float | None = None
    temperature: float = 1.0
    top_k: int | None = None


class Family(ABC):
    """One model with its processor; what the families share."""

    guidance: ClassVar[float]
    top_k: ClassVar[int]
    parts: ClassVar[Mapping[str, tuple[str, ...]]]
    """What can be frozen while it is trained: how the names of the weights begin. In no part is what makes
    tokens of pictures and pictures of tokens: nothing trains that."""

    def __init__(self, model: Any, processor: Any, sampling: Sampling, side: int | None) -> None:
        """Take a loaded model; ``side`` is the width and height of pictures in pixels, None the family's."""
        self.model = model
        self.processor = processor
        self.side = side
        self.sampling = Sampling(
            self.guidance if sampling.guidance is None else sampling.guidance,
            sampling.temperature,
            self.top_k if sampling.top_k is None else sampling.top_k,
        )
        self.weights = ""
        self.adapters: tuple[Path, ...] = ()

    def words(self, turns: Sequence[Turn]) -> Inputs:
        """Return what is put in, a row of it, for the model to go on in words."""
        images = [image.pil() for turn in turns for image in turn.images]
        return self._put_in(self._conversation(turns), **({"images": images} if images else {}))

    @abstractmethod
    def picture(self, turns: Sequence[Turn]) -> Inputs:
        """Return what is put in, a row of it, for the model to go on with a picture."""

    @abstractmethod
    def draw(self, inputs: Mapping[str, Tensor], seeds: Sequence[int]) -> Tensor:
        """Return pictures (rows, height, width, 3), as the model was taught them (normalised)."""

    def pixels(self, pictures: Tensor) -> Tensor:
        """Undo what the image processor does to pictures: return bytes (rows, height, width, 3)."""
        reads = self.processor.image_processor
        mean, std = (
            torch.tensor(each, device=pictures.device) for each in (reads.image_mean, reads.image_std)
        )
        return ((pictures.float() * std + mean) * 255).clamp(0, 255).byte().cpu()

    # --- what is learned ---

    def answer(self, turns: Sequence[Turn], text: str) -> Tensor:
        """Return the tokens (length,) of an answer, as they should follow ``words(turns)``, with the end."""
        asked = self._conversation(turns)
        whole = self._conversation([*turns, Turn("model", text)], is_open=False)
        said = whole.removeprefix(asked) if whole.startswith(asked) else text  # templates bring spaces
        tokens = torch.tensor(self.processor.tokenizer(said, add_special_tokens=False)["input_ids"])
        ends = torch.tensor(self.model.generation_config.eos_token_id).reshape(-1)
        ended = torch.isin(tokens, ends).nonzero().flatten().tolist()
        return torch.cat([tokens[: ended[0] if ended else None].long(), ends[:1]])

    @abstractmethod
    def codes(self, picture: PilImage) -> Tensor:
        """Return the tokens (length,) of a picture, as they should follow ``picture(turns)``."""

    @abstractmethod
    def unprompted(self, inputs: Inputs) -> Tensor:
        """Return the tokens (1, length) that guidance puts in the place of ``picture(turns)``."""

    @property
    @abstractmethod
    def core(self) -> torch.nn.Module:
        """The transformer between embeddings and heads."""

    @property
    @abstractmethod
    def heads(self) -> tuple[torch.nn.Module, ...]:
        """What gives the scores of words, and of pictures where their tokens are no words."""

    @abstractmethod
    def embedded(self, tokens: Tensor, drawn: Tensor) -> Tensor:
        """Return the embeddings (rows, length, width) of tokens; ``drawn`` are those of pictures."""

    def _normalised(self, picture: PilImage, width: int, height: int) -> Tensor:
        """Return a picture (1, 3, height, width) as the model was taught them; undone by ``pixels``."""
        import numpy as np
        from PIL import ImageOps

        fitted = ImageOps.pad(picture, (width, height), color="white")
        reads = self.processor.image_processor
        scaled = (np.asarray(fitted, np.float32) / 255 - reads.image_mean) / np.array(reads.image_std)
        return torch.tensor(scaled, dtype=torch.float32).permute(2, 0, 1)[None]

    def _conversation(self, turns: Sequence[Turn], *, is_open: bool = True) -> str:
        """Return the conversation in the model's own form, open for its turn or not."""
        if self.processor.chat_template is None:
            raise BackendError(
                f"{NAME}: this checkpoint has no chat template, so it cannot be asked in words: it only "
                "draws. Ask it with --modes direct render, or name a checkpoint made for conversations."
            )
        messages = [
            {
                "role": "user" if turn.role == "user" else "assistant",
                "content": [*({"type": "image"} for _ in turn.images), {"type": "text", "text": turn.text}],
            }
            for turn in turns
        ]
        return str(self.processor.apply_chat_template(messages, add_generation_prompt=is_open))

    def _put_in(self, text: str, **more: Any) -> Inputs:
        opens = self.processor.tokenizer.bos_token
        twice = opens is not None and text.startswith(opens)  # templates bring their own
        return dict(self.processor(text=[text], add_special_tokens=not twice, return_tensors="pt", **more))


class Janus(Family):
    """Janus and Janus-Pro: a head of its own for pictures of a fixed size."""

    guidance, top_k = 5.0, 0
    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "vision": ("model.vision_model.", "model.aligner."),
        "language": ("model.language_model.layers.", "model.language_model.norm."),
        "vocabulary": ("model.language_model.embed_tokens.", "lm_head."),
        "image": ("model.generation_",),
    }

    def __init__(self, model: Any, processor: Any, sampling: Sampling, side: int | None) -> None:
        """Take a loaded model; fills in the tokens that its ``generate`` asks for, where they are missing."""
        if side is not None:
            raise UsageError(f"{NAME}: image_size={side}: Janus draws in one size only. Leave it out.")
        super().__init__(model, processor, sampling, side)
        settings, tokenizer = model.generation_config, processor.tokenizer
        start = tokenizer.convert_tokens_to_ids(processor.image_start_token)
        settings.generation_kwargs = {"boi_token_id": start, **(settings.generation_kwargs or {})}

    def picture(self, turns: Sequence[Turn]) -> Inputs:
        """Return the conversation with the token that opens a picture."""
        return self._put_in(self._conversation(turns), generation_mode="image")

    def draw(self, inputs: Mapping[str, Tensor], seeds: Sequence[int]) -> Tensor:
        """Draw: the model's own loop gives the scores of all rows with and without prompt."""
        chosen = self.sampling
        assert chosen.guidance is not None and chosen.top_k is not None
        guided = Guided(seeds, chosen.temperature, chosen.top_k, chosen.guidance)
        codes = self.model.generate(
            **inputs,
            generation_mode="image",
            do_sample=False,
            guidance_scale=1.0,  # users' processors come before the model's own guidance, so ours does both
            logits_processor=LogitsProcessorList([guided]),
        )
        pictures: Tensor = self.model.decode_image_tokens(codes)
        return pictures

    def codes(self, picture: PilImage) -> Tensor:
        """Find the entry of the codebook that each place is nearest to, by angle, as decoding has it.

        ``vqmodel.encode`` of transformers 5.23 measures distances without normalising; the authors' does.
        """
        coder = self.model.model.vqmodel
        side = coder.config.num_patches * 2 ** (len(coder.config.channel_multiplier) - 1)
        book = coder.quantize.embedding.weight
        places = coder.quant_conv(coder.encoder(self._normalised(picture, side, side).to(book)))
        codes: Tensor = (normalize(places[0].flatten(1).T, dim=-1) @ normalize(book, dim=-1).T).argmax(-1)
        return codes.cpu()

    def unprompted(self, inputs: Inputs) -> Tensor:
        """Keep only what opens the conversation and the picture, as ``generate`` does."""
        settings, tokens = self.model.generation_config, inputs["input_ids"]
        opening = torch.tensor([settings.bos_token_id, settings.generation_kwargs["boi_token_id"]])
        return tokens.masked_fill(~torch.isin(tokens, opening), settings.pad_token_id)

    @property
    def core(self) -> torch.nn.Module:
        """The Llama."""
        core: torch.nn.Module = self.model.model.language_model
        return core

    @property
    def heads(self) -> tuple[torch.nn.Module, ...]:
        """One for words, one for pictures."""
        return (self.model.lm_head, self.model.model.generation_head)

    def embedded(self, tokens: Tensor, drawn: Tensor) -> Tensor:
        """Embed all tokens both ways, so that every weight takes part in every step, and choose."""
        words = self.model.get_input_embeddings()(tokens.masked_fill(drawn, 0))
        pictures = self.model.prepare_embeddings_for_image_generation(tokens.masked_fill(~drawn, 0))
        return torch.where(drawn[..., None], pictures, words)


class Emu3(Family):
    """Emu3: pictures of any size as lines of tokens in the vocabulary of words."""

    guidance, top_k = 3.0, 2048
    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "language": ("model.text_model.layers.", "model.text_model.norm."),
        "vocabulary": ("model.text_model.embed_tokens.", "lm_head."),
    }

    def picture(self, turns: Sequence[Turn]) -> Inputs:
        """Return the text, not as a conversation, with the tokens that give the size and open a picture."""
        return self._open_picture("\n".join(turn.text for turn in turns))[0]

    def draw(self, inputs: Mapping[str, Tensor], seeds: Sequence[int]) -> Tensor:
        """Draw: guidance is that of ``generate``, against a picture of no prompt; then the lines are kept."""
        chosen, names = self.sampling, self.model.vocabulary_mapping
        assert chosen.top_k is not None
        nothing, (height, width) = self._open_picture("")
        start = inputs["input_ids"].shape[1]
        tokens = torch.tensor(names.image_tokens, device=self.model.device)
        lines = Grid(
            seeds,
            chosen.temperature,
            chosen.top_k,
            start=start,
            width=width,
            tokens=tokens,
            end_of_line=names.eol_token_id,
        )
        without = {name: rows.to(self.model.device).repeat(len(seeds), 1) for name, rows in nothing.items()}
        codes = self.model.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=height * (width + 1),
            guidance_scale=chosen.guidance,
            negative_prompt_ids=without["input_ids"],
            negative_prompt_attention_mask=without["attention_mask"],
            logits_processor=LogitsProcessorList([lines]),
        )[:, start:]
        closed = torch.nn.functional.pad(codes, (0, 3))  # decoding cuts off what closes a picture
        pictures: Tensor = self.model.decode_image_tokens(image_tokens=closed, height=height, width=width)
        return pictures.permute(0, 2, 3, 1)

    def codes(self, picture: PilImage) -> Tensor:
        """Return tokens of the vocabulary, each line with its end; what closes a picture is not drawn."""
        coder = self.model.model.vqmodel
        _, lines = self._open_picture("")
        height, width = (size * coder.spatial_scale_factor for size in lines)
        pixels = self._normalised(picture, width, height).to(coder.device)
        tokens: Tensor = self.model.model.get_image_tokens(pixels, torch.tensor([[height, width]]))
        return tokens.cpu().long()

    def unprompted(self, inputs: Inputs) -> Tensor:
        """Return what opens a picture of no text."""
        return self._open_picture("")[0]["input_ids"]

    @property
    def core(self) -> torch.nn.Module:
        """The transformer."""
        core: torch.nn.Module = self.model.model.text_model
        return core

    @property
    def heads(self) -> tuple[torch.nn.Module, ...]:
        """One: tokens of pictures are in the vocabulary of words."""
        return (self.model.lm_head,)

    def embedded(self, tokens: Tensor, drawn: Tensor) -> Tensor:
        """Embed tokens of both kinds alike."""
        embedded: Tensor = self.model.get_input_embeddings()(tokens)
        return embedded

    def _open_picture(self, text: str) -> tuple[Inputs, tuple[int, int]]:
        """Return what is put in, and how many lines of how many tokens the picture has."""
        area = {} if self.side is None else {"image_area": self.side**2}
        inputs = self._put_in(text, return_for_image_generation=True, **area)
        height, width = inputs.pop("image_sizes")[0]
        return inputs, (int(height), int(width))


FAMILIES: Mapping[str, type[Family]] = {"janus": Janus, "emu3": Emu3}
"""By the ``model_type`` of a checkpoint's ``config.json``."""


def load(
    model: str,
    *,
    adapters: Sequence[Path],
    revision: str | None,
    device: str,
    device_map: str | None,
    dtype: Precision,
    sampling: Sampling,
    image_size: int | None,
) -> Family:
    """Load a model from a folder or the hub; for the options and errors see the factory."""
    place = checkpoint(NAME, model, "config.json")
    target, onto = placed(NAME, device, device_map)
    with one_line(NAME, model):
        kind = AutoConfig.from_pretrained(place, revision=revision).model_type
    if kind not in FAMILIES:
        raise BackendError(
            f"{NAME}: model={model} is of the kind {kind!r}, which does not draw. Of what transformers "
            f"holds, {' and '.join(FAMILIES)} read and draw."
        )
    with one_line(NAME, model):
        processor = AutoProcessor.from_pretrained(place, revision=revision)
        loaded = AutoModelForImageTextToText.from_pretrained(
            place, revision=revision, dtype=precision(dtype, target), **onto
        ).eval()
        if target is not None:
            loaded.to(target)
    weights = [digest(loaded.state_dict().items())]
    for folder in adapters:
        loaded, told = merged(NAME, loaded, folder)
        weights.append(told)
    family = FAMILIES[kind](loaded, processor, sampling, image_size)
    family.weights = "+".join(weights)
    family.adapters = tuple(adapters)
    return family
