"""An untrained model of the embedded kind, small enough for tests, and a trained one: what is shipped."""

from __future__ import annotations

from functools import cache

import torch

from unisandbox.model_backends.tiny import checkpoint, patches
from unisandbox.model_backends.tiny.checkpoint import Model
from unisandbox.model_backends.tiny.documents import Material, Writer, vocabulary_texts
from unisandbox.model_backends.tiny.words import learned

torch.set_num_threads(1)


@cache
def material() -> Material:
    """Return little material: 120 rows a task."""
    return Material(rows=120)


@cache
def codebook() -> patches.Patches:
    """Return the codebook."""
    return patches.learned()


@cache
def writer() -> Writer:
    """Return a writer of documents of little material."""
    return Writer(learned(vocabulary_texts(material()), material().names), codebook(), material())


def untrained(*, seed: int = 0, width: int = 32, layers: int = 2) -> Model:
    """Return a small network with random weights everywhere, so that its outputs vary."""
    model = checkpoint.fresh(writer().words, codebook(), seed=seed, width=width, layers=layers)
    for parameter in model.network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model
