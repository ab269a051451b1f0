from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmrobust.attacks.noise import ItemNoise

DRAWS = {
    "uniform": lambda noise: noise.uniform(torch.empty(len(noise), 3, 2, 5)),
    "normal": lambda noise: noise.normal(torch.empty(len(noise), 3, 2, 5)),
    "integers": lambda noise: noise.integers(1000),
}


@pytest.mark.parametrize("kind", DRAWS)
def test_same_seed_and_names_draw_the_same_and_others_differ(kind: str) -> None:
    draw = DRAWS[kind]
    items = range(8)
    drawn = draw(ItemNoise.of(3, "attack", items=items))
    assert torch.equal(drawn, draw(ItemNoise.of(3, "attack", items=items)))
    assert not torch.equal(drawn, draw(ItemNoise.of(4, "attack", items=items)))
    assert not torch.equal(drawn, draw(ItemNoise.of(3, "other", items=items)))


@given(st.permutations(range(5)), st.integers(1, 5))
def test_what_an_item_draws_does_not_depend_on_its_batch(order: list[int], count: int) -> None:
    chosen = order[:count]
    for draw in DRAWS.values():
        all_drawn = draw(ItemNoise.of(0, items=range(5)))
        assert torch.equal(draw(ItemNoise.of(0, items=chosen)), all_drawn[chosen])
        assert torch.equal(draw(ItemNoise.of(0, items=range(5)).take(chosen)), all_drawn[chosen])


def test_items_draw_differently() -> None:
    drawn = ItemNoise.of(0, items=range(4)).uniform(torch.empty(4, 6))
    assert len({tuple(row) for row in drawn.tolist()}) == 4


def test_taken_items_go_on_where_they_were() -> None:
    noise = ItemNoise.of(0, items=[7, 8])
    whole = ItemNoise.of(0, items=[8]).uniform(torch.empty(1, 1))
    second = noise.take([1])
    assert torch.equal(second.uniform(torch.empty(1, 1)), whole)
    again = noise.uniform(torch.empty(2, 1))
    assert again[1] != whole[0]
    assert torch.equal(again[:1], ItemNoise.of(0, items=[7]).uniform(torch.empty(1, 1)))


def test_draws_have_the_stated_moments_and_ranges() -> None:
    noise = ItemNoise.of(0, items=range(4))
    uniform = noise.uniform(torch.empty(4, 10_000))
    assert 0 <= float(uniform.min()) < 0.001
    assert 0.999 < float(uniform.max()) < 1
    torch.testing.assert_close(uniform.mean(dim=1), torch.full((4,), 0.5), atol=0.015, rtol=0)
    normal = noise.normal(torch.empty(4, 10_000))
    torch.testing.assert_close(normal.mean(dim=1), torch.zeros(4), atol=0.05, rtol=0)
    torch.testing.assert_close(normal.std(dim=1), torch.ones(4), atol=0.05, rtol=0)
    whole = torch.stack([noise.integers(3) for _ in range(60)])
    assert whole.dtype == torch.int64
    assert set(whole.flatten().tolist()) == {0, 1, 2}


def test_draws_take_the_type_of_their_model() -> None:
    noise = ItemNoise.of(0, items=[0])
    assert noise.uniform(torch.empty(1, 2, dtype=torch.float64)).dtype == torch.float64
    assert noise.normal(torch.empty(1, 2)).dtype == torch.float32


def test_no_items_draw_nothing() -> None:
    noise = ItemNoise.of(0, items=[])
    assert noise.integers(5).shape == (0,)
    assert noise.uniform(torch.empty(0, 3)).shape == (0, 3)


def test_another_number_of_items_is_refused() -> None:
    with pytest.raises(ValueError, match="3 items but 2 generators"):
        ItemNoise.of(0, items=[0, 1]).uniform(torch.empty(3, 2))
