"""Low-rank adapters (Hu et al. 2021), through peft: put to a model, and merged into its weights."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unisandbox.backend import TrainSpec
from unisandbox.errors import UsageError
from unisandbox.loading import digest, needed, one_line


def adapted(model: nn.Module, names: Sequence[str], spec: TrainSpec) -> Any:
    """Return the model with adapters of rank ``spec.lora`` at the matrices of those names."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(spec.seed)
    config = LoraConfig(r=spec.lora, lora_alpha=2 * spec.lora, target_modules=list(names))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft behind transformers
        return get_peft_model(model, config)


def merged(who: str, model: Any, folder: Path) -> tuple[Any, str]:
    """Return the model with an adapter of peft's merged in, and a digest of the adapter."""
    needed(who, "peft", f"adapter={folder}")
    if not (folder / "adapter_config.json").is_file():
        raise UsageError(f"{who}: adapter={folder}: no adapter: no adapter_config.json there.")
    from peft import PeftModel, get_peft_model_state_dict

    with one_line(who, str(folder)), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message="Found missing adapter keys")
        try:
            joined = PeftModel.from_pretrained(model, str(folder))
        except UserWarning as error:
            raise ValueError(f"its weights do not fit this model: {error}") from None
        told = digest(get_peft_model_state_dict(joined).items())
        return joined.merge_and_unload().eval(), told
