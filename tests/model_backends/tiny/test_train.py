"""Training: rows hold whole documents, a killed run ends with the same weights, and it learns."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from random import Random
from statistics import mean

import pytest
import torch
import torch.nn.functional as F

from tests.support_tiny import codebook, untrained, writer
from unisandbox.errors import UsageError
from unisandbox.model_backends.tiny import checkpoint
from unisandbox.model_backends.tiny.documents import SHARES, Document, Writer
from unisandbox.model_backends.tiny.generation import Sampling, draw
from unisandbox.model_backends.tiny.optimiser import Optimiser, _orthogonal
from unisandbox.model_backends.tiny.patches import TOKENS
from unisandbox.model_backends.tiny.train import (
    LENGTH,
    STATE,
    Batch,
    Recipe,
    Trainer,
    losses,
    main,
    packed,
    stream,
    train,
)
from unisandbox.model_backends.tiny.words import MODEL, PAD, USER
from unisandbox.training.record import LOG
from unisandbox.world import read, with_article

SMALL = Recipe(steps=6, batch=2, rows=60, width=32, layers=1, warm_up=2, opening_steps=2)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return dict(checkpoint.load(path).network.state_dict())


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# --- rows of documents ---


def test_rows_hold_whole_documents_and_little_else() -> None:
    batch = packed(stream(writer(), SMALL, 0, 0), 16)
    assert batch.tokens.shape == (16, LENGTH)
    assert (batch.document > 0).float().mean() > 0.93
    for row in range(16):
        for number in set(batch.document[row].tolist()):
            tokens = batch.tokens[row][batch.document[row] == number]
            if number:
                assert tokens[0] == USER
                assert PAD not in tokens
            else:
                assert (tokens == PAD).all()
    assert not batch.learned[batch.document == 0].any()


def test_a_document_is_read_as_if_it_were_alone() -> None:
    """What else is in the row, and where a document lies in it, changes none of its losses."""
    network = untrained().network
    documents = [document for document, _ in zip(stream(writer(), SMALL, 0, 0), range(3), strict=False)]
    alone = [losses(network, packed(iter([one, _long()]), 1), torch.float32) for one in documents]
    numbers = [(len(one.picture) or sum(one.learned), bool(one.picture)) for one in documents]
    together = losses(network, _row(documents), torch.float32)
    for which in range(2):
        counted = [
            (count, found[which].item())
            for (count, of_pictures), found in zip(numbers, alone, strict=True)
            if of_pictures == (which == 1)
        ]
        if counted:
            mean = sum(count * loss for count, loss in counted) / sum(count for count, _ in counted)
            assert together[which].item() == pytest.approx(mean, rel=1e-4)


def _long() -> Document:
    """Return a document that fits nowhere and ends the drawing of others."""
    return Document([USER] * (LENGTH + 1), [False] * (LENGTH + 1))


def _row(documents: list[Document]) -> Batch:
    tokens = [token for one in documents for token in one.tokens]
    learned = [flag for one in documents for flag in one.learned]
    owner = [number for number, one in enumerate(documents, 1) for _ in one.tokens]
    ends = list(accumulate(len(one.tokens) for one in documents))
    drawn = [
        (list(one.picture), [0, end - 1]) for one, end in zip(documents, ends, strict=True) if one.picture
    ]
    return Batch(
        torch.tensor([tokens]),
        torch.tensor([learned]),
        torch.tensor([owner]),
        torch.tensor([picture for picture, _ in drawn], dtype=torch.long).view(-1, TOKENS),
        torch.tensor([place for _, place in drawn], dtype=torch.long).view(-1, 2),
        torch.tensor([one.reads for one in documents if one.picture], dtype=torch.bool),
    )


@pytest.mark.parametrize("reads", [(), (0, 1, 2), (1,)])
def test_a_picture_opens_with_the_last_state_of_its_text_and_may_read_it(reads: Sequence[int]) -> None:
    """In one pass over what it sees, with that state put in by hand, its loss is the same."""
    network = untrained().network
    documents = [writer().write(Random(seed), {"render": 1}) for seed in range(3)]
    documents = [replace(one, reads=number in reads) for number, one in enumerate(documents)]

    def read(x: torch.Tensor) -> torch.Tensor:
        size = x.shape[1]
        mask = torch.full((size, size), float("-inf")).triu(1)[None, None]
        hidden: torch.Tensor = network(x, torch.arange(size)[None], mask)
        return hidden

    wanted = []
    for document in documents:
        text = network.embedded(torch.tensor([document.tokens]))
        codes = network.embedded(torch.tensor([document.picture[:-1]]))
        seen = [text] * document.reads + [read(text)[:, -1:], codes]
        hidden = read(torch.cat(seen, 1))[0, -TOKENS:]
        scores = hidden @ network.head.weight[network.shape.words :].T
        wanted.append(F.cross_entropy(scores, torch.tensor(document.picture) - network.shape.words).item())
    assert losses(network, _row(documents), torch.float32)[1].item() == pytest.approx(mean(wanted), rel=1e-4)


def test_a_batch_without_pictures_has_no_loss_of_them() -> None:
    batch = packed(stream(writer(), replace(SMALL, opening={"echo": 1}), 0, 0), 2)
    said, drawn = losses(untrained().network, batch, torch.float32)
    assert said.item() > 0 and drawn.item() == 0
    (said + drawn).backward()  # type: ignore[no-untyped-call]


def test_ever_fewer_pictures_see_their_text() -> None:
    recipe = replace(SMALL, steps=100, reading=0.5, opening_steps=0, shares={"render": 1})

    def share(step: int) -> float:
        return mean(
            document.reads for document, _ in zip(stream(writer(), recipe, step, 0), range(200), strict=False)
        )

    assert share(0) == 1
    assert share(25) == pytest.approx(0.5, abs=0.15)
    assert share(50) == share(90) == 0


# --- the optimiser ---


def test_a_step_of_muon_is_nearly_orthogonal() -> None:
    made = _orthogonal(torch.randn(3, 24, 64, generator=torch.Generator().manual_seed(0)))
    values = torch.linalg.svdvals(made)
    assert values.min() > 0.5 and values.max() < 1.4


def test_the_optimiser_goes_on_where_it_was() -> None:
    models = [untrained(), untrained()]
    optimisers = [Optimiser(model.network) for model in models]

    def step(which: int) -> None:
        draws = torch.Generator().manual_seed(4)
        for parameter in models[which].network.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=draws)
        optimisers[which].step(1.0)

    for which in (0, 1):
        step(which)
    state = optimisers[1].state()
    optimisers[1] = Optimiser(models[1].network)
    optimisers[1].restore(state)
    for which in (0, 1):
        step(which)
    assert same(models[0].network.state_dict(), models[1].network.state_dict())


def test_rates_rise_and_fall() -> None:
    recipe = replace(SMALL, steps=100, warm_up=10, decay=0.5)
    rates = [recipe.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert set(rates[9:50]) == {1.0}
    assert rates[50:] == sorted(rates[50:], reverse=True)
    assert rates[-1] == pytest.approx(0.02)


# --- whole trainings ---


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    train(SMALL, out)
    return out


def test_a_training_leaves_a_model_and_a_log(uninterrupted: Path) -> None:
    assert not (uninterrupted / STATE).exists()
    notes = checkpoint.load(uninterrupted).notes
    assert notes["recipe"]["steps"] == 6
    lines = [json.loads(line) for line in (uninterrupted / LOG).read_text().splitlines()]
    assert [line["step"] for line in lines] == [6]
    assert lines[0]["loss_words"] > 0 and lines[0]["loss_images"] > 0


def test_a_training_stopped_half_way_ends_with_the_same_weights(
    tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer.step

    def stop(self: Trainer, number: int) -> tuple[float, float]:
        if number == 5:
            raise KeyboardInterrupt
        return step(self, number)

    monkeypatch.setattr(Trainer, "step", stop)
    with pytest.raises(KeyboardInterrupt):
        train(SMALL, tmp_path, every=2)
    assert (tmp_path / STATE).exists()
    monkeypatch.undo()
    train(SMALL, tmp_path)
    assert same(weights(tmp_path), weights(uninterrupted))


def test_two_processes_get_the_same_weights_as_one(tmp_path: Path, uninterrupted: Path) -> None:
    """And one of them killed outright loses nothing but the steps since the last checkpoint."""
    out = tmp_path / "two"
    out.mkdir()
    script = (
        "from tests.model_backends.tiny.test_train import SMALL\n"
        "from unisandbox.model_backends.tiny.train import spread\n"
        "from pathlib import Path\n"
        f"if __name__ == '__main__': spread(2, recipe=SMALL, out=Path({str(out)!r}), every=2)\n"
    )
    (tmp_path / "two.py").write_text(script)
    command = [sys.executable, str(tmp_path / "two.py")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (out / STATE).exists() and not (out / checkpoint.FILE).exists():
        assert time.monotonic() < deadline, "no checkpoint came"
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    one, two = weights(uninterrupted), weights(out)
    assert all(torch.allclose(one[name], two[name], atol=2e-3) for name in one)


def test_a_folder_of_another_training_is_refused(tmp_path: Path) -> None:
    extra = {"step": torch.tensor(2)}
    checkpoint.save(untrained(), tmp_path / STATE, {"seed": 1}, extra)
    with pytest.raises(UsageError, match=r"holds an unfinished training with another seed, steps"):
        train(SMALL, tmp_path)


def test_the_command_line_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main([str(tmp_path / "out"), "--inject", str(tmp_path / "nowhere"), "--workers", "1"])
    assert code == 1
    assert "error: There is no checkpoint" in capsys.readouterr().err


# --- it learns ---

FEW_KINDS = ("cup", "dog", "rose", "star", "key", "hat")


class Singles(Writer):
    """Writes nothing but "Draw a cup." with its picture, for a few kinds."""

    def write(self, draws: Random, shares: Mapping[str, float] = SHARES) -> Document:
        """Return a document."""
        chosen = draws.choice(FEW_KINDS)
        return self.drawing(f"Draw {with_article(chosen)}.", self.objects(draws, chosen, 1))


def test_a_minute_of_training_lowers_the_loss_and_draws_single_objects() -> None:
    recipe = Recipe(steps=420, batch=2, warm_up=10, width=64, layers=2)
    model = checkpoint.fresh(writer().words, codebook(), seed=0, width=64, layers=2)
    trainer = Trainer(model, recipe, Singles(writer().words, codebook(), writer()._material))
    seen = [trainer.step(number)[1] for number in range(recipe.steps)]
    assert sum(seen[-10:]) < 0.2 * sum(seen[:10])
    words = model.words
    asked = [chosen for chosen in FEW_KINDS for _ in range(4)]
    contexts = [[USER, *words.tokens(f"Draw {with_article(chosen)}."), MODEL] for chosen in asked]
    pictures = draw(model.network, contexts, range(len(contexts)), Sampling())
    right = [
        read(codebook().picture(codes)).objects == {chosen: 1}
        for codes, chosen in zip(pictures, asked, strict=True)
    ]
    assert sum(right) >= 0.75 * len(right)
