"""Sampling by seeds: the right distribution, and rows that do not know of each other."""

import torch

from unisandbox.model_backends.any_to_any.sampling import Grid, Guided, Seeded

NO_TOKENS = torch.zeros((2, 0), dtype=torch.long)


def chosen(processor: Seeded, scores: torch.Tensor) -> torch.Tensor:
    return processor(torch.zeros((len(scores), 0), dtype=torch.long), scores).argmax(-1)


def test_tokens_come_as_often_as_their_probability_says() -> None:
    odds = torch.tensor([0.5, 0.3, 0.15, 0.05])
    draws = chosen(Seeded(range(20_000), temperature=1.0), odds.log().expand(20_000, 4))
    assert torch.allclose(draws.bincount(minlength=4) / 20_000, odds, atol=0.012)


def test_temperature_sharpens() -> None:
    odds = torch.tensor([0.6, 0.4])
    draws = chosen(Seeded(range(20_000), temperature=0.5), odds.log().expand(20_000, 2))
    assert abs(draws.float().mean() - 0.16 / 0.52) < 0.012


def test_temperature_zero_is_the_likeliest() -> None:
    scores = torch.tensor([[0.0, 0.1], [0.3, 0.2]])
    assert chosen(Seeded([1, 2], temperature=0), scores).tolist() == [1, 0]


def test_top_k_leaves_only_the_likeliest() -> None:
    scores = torch.arange(10.0).expand(500, 10) / 10
    assert set(chosen(Seeded(range(500), temperature=1.0, top_k=3), scores).tolist()) == {7, 8, 9}


def test_a_row_follows_its_own_seed_over_time() -> None:
    scores = torch.zeros((3, 50))
    together, alone = Seeded([4, 5, 6], temperature=1.0), Seeded([5], temperature=1.0)
    steps = [(chosen(together, scores)[1].item(), chosen(alone, scores[:1])[0].item()) for _ in range(20)]
    assert all(one == other for one, other in steps)
    assert len({one for one, _ in steps}) > 5


def test_guidance_moves_away_from_what_comes_without_a_prompt() -> None:
    given, without = torch.tensor([[1.0, 0.9]]), torch.tensor([[1.0, 0.0]])
    both = torch.cat([given, without])
    assert chosen(Guided([1], 0, 0, guidance=1.0), both).tolist() == [0]
    assert chosen(Guided([1], 0, 0, guidance=5.0), both).tolist() == [1]


def test_a_grid_ends_its_lines_and_holds_only_tokens_of_pictures() -> None:
    grid = Grid([1, 2], 1.0, 0, start=3, width=2, tokens=torch.tensor([4, 5, 6]), end_of_line=9)
    rows = torch.zeros((2, 3), dtype=torch.long)
    for _ in range(6):
        scores = torch.full((2, 12), 5.0)
        rows = torch.cat([rows, grid(rows, scores).argmax(-1, keepdim=True)], 1)
    drawn = rows[:, 3:]
    assert (drawn[:, [2, 5]] == 9).all()
    assert torch.isin(drawn[:, [0, 1, 3, 4]], torch.tensor([4, 5, 6])).all()
