"""Every registered attack holds to its contracts, and attacks made to break them are caught."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.attacks import contracts
from tests.attacks.contracts import (
    L2,
    LINF,
    TABLE,
    TWO_WORDS,
    Case,
    Made,
    carry_out,
    check_budget,
    check_identity,
    check_items_apart,
    check_lowers_recall,
    check_repeatable,
    check_untouched,
)
from tests.attacks.tiny_world import SYNONYMS, TinyWorld, TrainedEncoder
from torch import Tensor

from mmrobust.attacks import ATTACKS, base
from mmrobust.attacks.base import Attack
from mmrobust.attacks.image_search.balls import L2Ball, LinfBall, ball_of
from mmrobust.attacks.image_search.base import Found, Objective
from mmrobust.attacks.image_search.gradient_ascent import GradientAscent
from mmrobust.attacks.noise import ItemNoise
from mmrobust.attacks.objectives import Context, positive_pair
from mmrobust.attacks.steps import ImageStep, TextStep
from mmrobust.attacks.text_search.base import Value
from mmrobust.attacks.text_search.memory import TextMemory
from mmrobust.attacks.text_search.search import TextSearch
from mmrobust.registry import resolve
from mmrobust.threat import ImageBudget, TextBudget, ThreatModel

CASES = [
    pytest.param(case, id=f"{name}-{at}") for name, cases in TABLE.items()
    for at, case in enumerate(cases)
]  # fmt: skip

CHECKS = (
    *(check_budget, check_identity, check_repeatable),
    *(check_items_apart, check_untouched, check_lowers_recall),
)


def test_the_table_is_the_registry() -> None:
    assert set(TABLE) == set(ATTACKS)
    for name, cases in TABLE.items():
        expected: Any = resolve(ATTACKS, name, kind="attack", base=Attack)  # type: ignore[type-abstract]
        assert {type(case.attack) for case in cases} == {expected}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES)
def test_an_attack_holds_to_its_contracts(
    case: Case, check: Callable[[Case, TinyWorld], None], world: TinyWorld
) -> None:
    check(case, world)


# Attacks made to break one contract each, and where the wrapper would mend or refuse what they do,
# a wrapper made to let it pass.


class ByHand:
    """An image search that does what it is told."""

    uses_gradients = True

    def __init__(self, move: Callable[..., Tensor]) -> None:
        self.move = move

    def __call__(
        self,
        objective: Objective,
        images: Tensor,
        *,
        start: Tensor | None,
        budget: ImageBudget,
        noise: ItemNoise,
    ) -> Found:
        found = self.move(objective, images, noise).detach()
        return Found(images=found, previous=found)


class Rewriting:
    """A text search that writes whatever it is told."""

    importance = None

    def __init__(self, write: Callable[[str, int], str]) -> None:
        self.write = write

    def __call__(
        self, memory: TextMemory, captions: Sequence[str], value: Value, **given: Any
    ) -> tuple[list[str], Tensor]:
        found = [self.write(caption, row) for row, caption in enumerate(captions)]
        return found, memory.embed(found)


def image_case(move: Callable[..., Tensor], *, budget: ImageBudget = LINF, **of: Any) -> Case:
    step = ImageStep(search=ByHand(move), guide="original", **of)
    return Case(attack=Made(steps=(step,)), threat_model=ThreatModel(image=budget))


def text_case(write: Callable[[str, int], str], budget: TextBudget = TWO_WORDS) -> Case:
    step = TextStep(search=Rewriting(write), guide="original")  # type: ignore[arg-type]
    return Case(attack=Made(steps=(step,)), threat_model=ThreatModel(text=budget))


def pgd_case(**of: Any) -> Case:
    """PGD, sound but for its objective or budget."""
    search = GradientAscent(step_size=0.02, steps=5, random_start="none")
    budget = of.pop("budget", LINF)
    step = ImageStep(search=search, guide="original", **of)
    return Case(attack=Made(steps=(step,)), threat_model=ThreatModel(image=budget))


def fooled(check: Callable[[Case, TinyWorld], None], case: Case, world: TinyWorld) -> bool:
    """Whether a check, and not the wrapper, lets a case pass."""
    try:
        check(case, world)
    except AssertionError as error:
        if "text step" in str(error):
            raise RuntimeError("the wrapper and not the check refused it") from error
        return False
    return True


def outwards(objective: Objective, images: Tensor, noise: ItemNoise) -> Tensor:
    return images + 5.0


def inverted(objective: Objective, images: Tensor, noise: ItemNoise) -> Tensor:
    return 1 - images


def all_words(caption: str, row: int) -> str:
    return " ".join("saltire" for _ in caption.split(" "))


def first_word(caption: str, row: int) -> str:
    return " ".join(["saltire", *caption.split(" ")[1:]])


def let_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the wrapper's recount of captions away."""
    monkeypatch.setattr(base, "_refuse_escaped", lambda *of: None)


def test_the_made_attacks_are_sound_where_they_are_not_broken(world: TinyWorld) -> None:
    for check in (check_budget, check_identity, check_items_apart, check_untouched):
        check(pgd_case(), world)
        if check is not check_identity:
            check(text_case(first_word), world)


@pytest.mark.parametrize("budget", [LINF, L2], ids=["linf", "l2"])
def test_a_rounding_beyond_the_budget_is_caught(
    budget: ImageBudget, world: TinyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = image_case(inverted, budget=budget)
    assert fooled(check_budget, case, world)
    monkeypatch.setattr(type(ball_of(budget)), "confine", type(ball_of(budget)).project)
    assert not fooled(check_budget, case, world)


def test_a_perturbation_of_another_norm_is_caught(
    world: TinyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmrobust.attacks.run.ball_of", lambda budget: L2Ball(eps=2.0))
    assert not fooled(check_budget, image_case(inverted), world)


def test_pixels_beyond_their_range_are_caught(
    world: TinyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LinfBall, "confine", lambda self, images, original: original + 0.05)
    assert not fooled(check_budget, image_case(outwards), world)


def test_too_many_words_or_characters_are_caught(
    world: TinyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_pass(monkeypatch)
    assert not fooled(check_budget, text_case(all_words), world)
    assert not fooled(check_budget, text_case(first_word, TextBudget(words=2, characters=2)), world)
    assert not fooled(
        check_budget, text_case(first_word, TextBudget(words=2, keeps_truth=True)), world
    )


@pytest.mark.parametrize("name", ["words_changed", "characters_changed"])
def test_a_wrong_count_is_caught(
    name: str, world: TinyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, name, lambda before, after: 0)
    assert not fooled(check_budget, text_case(first_word), world)


def test_a_change_without_a_budget_is_caught(
    world: TinyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_pass(monkeypatch)
    assert not fooled(check_identity, text_case(first_word), world)
    monkeypatch.setattr(LinfBall, "confine", lambda self, images, original: images + 1e-7)
    assert not fooled(check_identity, pgd_case(), world)


def test_draws_of_a_global_generator_are_caught(world: TinyWorld) -> None:
    case = image_case(lambda objective, images, noise: images + torch.rand_like(images) - 0.5)
    assert not fooled(check_repeatable, replace(case, draws=True), world)
    assert not fooled(check_untouched, case, world)


def test_draws_that_ignore_the_seed_are_caught(world: TinyWorld) -> None:
    fixed = torch.rand(len(contracts.FEW), 3, 8, 8, generator=torch.Generator().manual_seed(0))
    case = image_case(lambda objective, images, noise: images + fixed - 0.5)
    assert fooled(check_repeatable, case, world)
    assert not fooled(check_repeatable, replace(case, draws=True), world)


def test_items_that_share_an_objective_are_caught(world: TinyWorld) -> None:
    def away_from_the_mean(image: Tensor, text: Tensor, context: Context) -> Tensor:
        return -(image * image.mean(dim=0)).sum(dim=1)

    assert not fooled(check_items_apart, pgd_case(objective=away_from_the_mean), world)


def test_items_that_share_draws_are_caught(world: TinyWorld) -> None:
    def shared(objective: Objective, images: Tensor, noise: ItemNoise) -> Tensor:
        return images + noise.take([0]).uniform(images[:1]) - 0.5

    assert not fooled(check_items_apart, image_case(shared), world)


def test_captions_that_depend_on_their_place_are_caught(world: TinyWorld) -> None:
    case = text_case(lambda caption, row: first_word(caption, row) if row else caption)
    assert not fooled(check_items_apart, case, world)


def test_gradients_left_in_parameters_are_caught(world: TinyWorld) -> None:
    def backwards(objective: Objective, images: Tensor, noise: ItemNoise) -> Tensor:
        leaf = images.clone().requires_grad_()
        objective(leaf).sum().backward()
        assert leaf.grad is not None
        return images + 0.02 * leaf.grad.sign()

    case = image_case(backwards)
    assert not fooled(check_untouched, case, world)
    world.model.zero_grad(set_to_none=True)


def test_a_mode_that_is_not_restored_is_caught(
    world: TinyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def for_good(model: Any) -> Iterator[None]:
        model.eval()
        yield

    monkeypatch.setattr(base, "evaluation_mode", for_good)
    assert not fooled(check_untouched, pgd_case(), world)


def test_dropout_left_on_is_caught(world: TinyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "evaluation_mode", lambda model: contextlib.nullcontext())
    assert not fooled(check_repeatable, pgd_case(), replace(world, model=copied(world).train()))


def copied(world: TinyWorld) -> TrainedEncoder:
    return copy.deepcopy(world.model)


def test_parameters_that_move_are_caught(world: TinyWorld) -> None:
    class Drifting(TrainedEncoder):
        def encode_image(self, images: Tensor) -> Tensor:
            self.out.data += 1e-3
            return super().encode_image(images)

    model = Drifting()
    model.load_state_dict(world.model.state_dict())
    assert not fooled(check_untouched, pgd_case(), replace(world, model=model))


def test_attacks_no_better_than_chance_are_caught(world: TinyWorld) -> None:
    nothing = image_case(lambda objective, images, noise: images)
    drawn = image_case(lambda o, images, noise: images + 0.12 * noise.uniform(images) - 0.06)
    downhill = pgd_case(objective=lambda *of: -positive_pair(*of))
    for case in (nothing, drawn, downhill):
        assert not fooled(check_lowers_recall, case, world)
    rng = np.random.default_rng(7)

    def at_random(caption: str, row: int) -> str:
        words = caption.split(" ")
        for place in rng.choice([i for i, w in enumerate(words) if w in SYNONYMS], 2, False):
            words[place] = rng.choice(SYNONYMS[words[place]])
        return " ".join(words)

    search = Rewriting(at_random)
    search.choices = TextSearch().choices  # type: ignore[attr-defined]
    step = TextStep(search=search, guide="original")  # type: ignore[arg-type]
    case = Case(attack=Made(steps=(step,)), threat_model=ThreatModel(text=TWO_WORDS))
    assert not fooled(check_lowers_recall, case, world)


@pytest.mark.parametrize(
    ("write", "budget", "told"),
    [
        (all_words, TWO_WORDS, r"changed \d words of 2"),
        (first_word, TextBudget(words=0), "changed 1 words of 0"),
        (first_word, TextBudget(words=1, characters=3), r"changed \d+ characters of 3"),
        (first_word, TextBudget(words=1, keeps_truth=True), "made a caption false: 'saltire"),
    ],
    ids=["words", "none", "characters", "truth"],
)
def test_the_wrapper_recounts_captions(
    write: Callable[[str, int], str], budget: TextBudget, told: str, world: TinyWorld
) -> None:
    with pytest.raises(AssertionError, match=told):
        carry_out(text_case(write, budget), world, world.batch(contracts.FEW))


def test_the_wrapper_refuses_words_added(world: TinyWorld) -> None:
    case = text_case(lambda caption, row: caption + " line")
    with pytest.raises(ValueError, match="number of words"):
        carry_out(case, world, world.batch(contracts.FEW))


def test_the_wrapper_brings_escaped_images_back(world: TinyWorld) -> None:
    batch = world.batch(contracts.FEW)
    found = carry_out(image_case(outwards), world, batch)
    assert float((found.images - (batch.images + LINF.eps).clamp(max=1)).abs().max()) < 1e-6
