"""Recipes: who guides whom, what is counted on the way, and the alternation of both modalities."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.attacks.contracts import (
    EVERYBODY,
    FEW,
    L2,
    LINF,
    TABLE,
    TWO_WORDS,
    Case,
    Made,
    carry_out,
)
from tests.attacks.tiny_world import TinyWorld, TrainedEncoder, noise
from torch import Tensor

from mmrobust.attacks import ATTACKS
from mmrobust.attacks.adaptive import Adaptive
from mmrobust.attacks.apgd import APGD
from mmrobust.attacks.base import Adversarial, Attack
from mmrobust.attacks.bert_attack import BertAttack, bert_search
from mmrobust.attacks.dra import DRA
from mmrobust.attacks.image_search.base import Found, Objective
from mmrobust.attacks.image_search.gradient_ascent import GradientAscent
from mmrobust.attacks.multi_scale_pgd import MultiScalePGD
from mmrobust.attacks.noise import ItemNoise
from mmrobust.attacks.objectives import (
    Context,
    ImageObjective,
    away_from_text,
    soft_margin,
    soft_margin_i2t,
    soft_margin_t2i,
    text_soft_margin,
)
from mmrobust.attacks.pgd import PGD
from mmrobust.attacks.run import RetrievalBatch, Run
from mmrobust.attacks.sga import SGA
from mmrobust.attacks.square import Square
from mmrobust.attacks.steps import Alternate, ImageStep, Step, TextStep, Trajectory
from mmrobust.attacks.text_search.candidates import CharacterCandidates
from mmrobust.attacks.text_search.constraints import Similarity
from mmrobust.attacks.text_search.importance import Gradient
from mmrobust.attacks.text_search.memory import TextMemory
from mmrobust.attacks.text_search.search import TextSearch
from mmrobust.attacks.word_substitution import WordSubstitution
from mmrobust.config import build
from mmrobust.errors import UserError
from mmrobust.registry import resolve
from mmrobust.threat import TextBudget, ThreatModel

BOTH = ThreatModel(image=LINF, text=TWO_WORDS)
IMAGE, TEXT = ThreatModel(image=LINF), ThreatModel(text=TWO_WORDS)


@pytest.mark.parametrize(
    ("attack", "threat_model", "told"),
    [
        (PGD(), TEXT, "perturbs the image but its threat model has none"),
        (PGD(), BOTH, "doesn't perturb the text but its threat model has one"),
        (SGA(), IMAGE, "perturbs the text but its threat model has none"),
        (Adaptive(), TEXT, "perturbs the image but its threat model has none"),
        (BertAttack(), BOTH, "doesn't perturb the image but its threat model has one"),
    ],
)
def test_a_budget_that_does_not_fit_is_refused(
    attack: Attack, threat_model: ThreatModel, told: str, world: TinyWorld
) -> None:
    with pytest.raises(UserError, match=told):
        carry_out(Case(attack=attack, threat_model=threat_model), world, world.batch(FEW))


def test_fields_are_checked() -> None:
    check: Callable[..., Any] = lambda **fields: build(SGA, fields, where="attacks.sga")  # noqa: E731
    assert check(step_size="1/255").step_size == 1 / 255
    with pytest.raises(UserError, match=r"attacks\.sga\.steps: .* \(got 0\)"):
        check(steps=0)
    with pytest.raises(UserError, match="did you mean 'step_size'"):
        check(stepsize=1)


def test_what_a_recipe_asks_for_is_known_beforehand() -> None:
    gradients = {name for name, cases in TABLE.items() if cases[0].attack.uses_gradients()}
    texts = {"bert_attack", "bert_attack_released", "character_edits", "word_substitution"}
    assert gradients == set(TABLE) - texts - {"square"}
    assert WordSubstitution(text=TextSearch(importance=Gradient())).uses_gradients()
    assert Adaptive(text=TextSearch()).uses_gradients()
    models = {name for name, cases in TABLE.items() if cases[0].attack.uses_masked_lm()}
    assert models == {
        "bert_attack",
        "bert_attack_released",
        "co_attack",
        "dra",
        "sep_attack",
        "sga",
    }
    similar = TextSearch(constraints=(Similarity(min_cosine=0.5),))
    assert WordSubstitution(text=similar).uses_masked_lm()
    assert Adaptive(text=similar).uses_masked_lm()
    assert not SGA(text=TextSearch(candidates=CharacterCandidates())).uses_masked_lm()


class Steered:
    """An image search that remembers what it was asked and goes where it is sent."""

    uses_gradients = False

    def __init__(self, by: float) -> None:
        self.by = by
        self.starts: list[Tensor | None] = []
        self.values: list[Tensor] = []

    def __call__(
        self, objective: Objective, images: Tensor, *, start: Tensor | None, **given: Any
    ) -> Found:
        self.starts.append(start)
        here = images if start is None else start
        self.values.append(objective(here).detach())
        return Found(images=here + self.by, previous=here + self.by / 2)


class Listening:
    """A text search that remembers what is worth what, and writes "saltire" first."""

    importance = None

    def __init__(self) -> None:
        self.values: list[Tensor] = []
        self.captions: list[tuple[str, ...]] = []

    def __call__(
        self,
        memory: TextMemory,
        captions: Sequence[str],
        value: Callable[[Tensor, Tensor], Tensor],
        **given: Any,
    ) -> tuple[list[str], Tensor]:
        self.captions.append(tuple(captions))
        embeddings = memory.embed(captions)
        self.values.append(value(embeddings, torch.arange(len(captions))))
        found = [" ".join(["saltire", *caption.split(" ")[1:]]) for caption in captions]
        return found, memory.embed(found)


def run_steps(
    world: TinyWorld, *steps: Step, threat_model: ThreatModel = BOTH, of: Sequence[int] = FEW
) -> Adversarial:
    case = Case(attack=Made(steps=steps), threat_model=threat_model)
    return carry_out(case, world, world.batch(of))


@torch.no_grad()
def test_guides_are_who_they_are_said_to_be(world: TinyWorld) -> None:
    search, listening = Steered(0.04), Listening()
    guides = ("original", "current", Trajectory(original=0.6, current=0.3, previous=0.1))
    run_steps(
        world,
        ImageStep(search=search, guide="original"),
        TextStep(search=listening, guide="original"),  # type: ignore[arg-type]
        ImageStep(search=search, guide="current"),
        ImageStep(search=search, guide="original"),
        *(TextStep(search=listening, guide=guide) for guide in guides),  # type: ignore[arg-type,misc]
    )
    batch, model = world.batch(FEW), copy.deepcopy(world.model).eval()
    rows = batch.caption_image
    clean, now, before = (model.encode_image(batch.images + by) for by in (0.0, 0.04, 0.02))
    text = model.encode_text(batch.captions)
    changed = model.encode_text([f"saltire {c.split(' ', 1)[1]}" for c in batch.captions])
    for found, guide in zip(search.values, (text, changed, text), strict=True):
        sums = -torch.zeros(len(FEW)).index_add(0, rows, (clean[rows] * guide).sum(1))
        torch.testing.assert_close(found, sums)
    mixed = 0.6 * clean + 0.3 * now + 0.1 * before
    for found, image in zip(listening.values, (clean, clean, now, mixed), strict=True):
        torch.testing.assert_close(found, -(text * image[rows]).sum(1))
    assert set(listening.captions) == {batch.captions}  # always from the originals
    assert search.starts == [None] * 3


def test_passes_and_zero_gradients_are_counted_by_item(world: TinyWorld) -> None:
    def counted(attack: Attack, knowledge: Any = "white_box") -> tuple[list[int], list[float]]:
        threat_model = ThreatModel(knowledge=knowledge, image=LINF)
        found = carry_out(Case(attack=attack, threat_model=threat_model), world, world.batch(FEW))
        return found.image_passes.tolist(), found.zero_gradients.tolist()

    n = len(FEW)
    assert counted(PGD(steps=4)) == ([4] * n, [0.0] * n)
    assert counted(MultiScalePGD(steps=3, scales=(0.5, 1.25))) == ([9] * n, [0.0] * n)
    assert counted(APGD(steps=5, restarts=2)) == ([12] * n, [0.0] * n)
    passes, shares = counted(Square(queries=7), "query")
    assert passes == [7] * n
    assert np.isnan(shares).all()
    text = carry_out(TABLE["bert_attack"][0], world, world.batch(FEW))
    assert text.image_passes.tolist() == [0] * n
    assert bool(text.zero_gradients.isnan().all())


class Masked(TrainedEncoder):
    """Some images' features are cut off from gradients, others' gradients are no numbers."""

    def encode_image(self, images: Tensor) -> Tensor:
        features = super().encode_image(images)
        cut = features[:1].detach()
        broken = features[1:2] * (1 + (images[1:2] - images[1:2].detach()).flatten(1).sum(1).sqrt())
        return torch.cat([cut, broken, features[2:]])


def test_missing_and_broken_gradients_count_as_zero(world: TinyWorld) -> None:
    model = Masked()
    model.load_state_dict(world.model.state_dict())
    batch = world.batch(FEW)
    for attack in (PGD(steps=3), MultiScalePGD(steps=3, scales=(1.25,))):
        found = carry_out(
            Case(attack=attack, threat_model=IMAGE), replace(world, model=model), batch
        )
        assert found.zero_gradients.tolist() == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
        assert bool(found.images.isfinite().all())


class Blinking(TrainedEncoder):
    """Of three passes with gradients it cuts the first image off in one."""

    passes = 0

    def encode_image(self, images: Tensor) -> Tensor:
        features = super().encode_image(images)
        if images.requires_grad:
            self.passes += 1
            if self.passes % 3 == 1:
                features = torch.cat([features[:1].detach(), features[1:]])
        return features


def test_each_pass_counts_once(world: TinyWorld) -> None:
    model = Blinking()
    model.load_state_dict(world.model.state_dict())
    attack = MultiScalePGD(steps=2, scales=(0.75, 1.25))
    case = Case(attack=attack, threat_model=IMAGE)
    found = carry_out(case, replace(world, model=model), world.batch(FEW))
    assert found.zero_gradients.tolist() == pytest.approx([1 / 3, 0, 0, 0, 0, 0])


def test_gradients_are_on_even_where_the_caller_has_none(world: TinyWorld) -> None:
    batch, case = world.batch(FEW), TABLE["pgd"][0]
    with torch.no_grad():
        found = carry_out(case, world, batch)
        assert not torch.is_grad_enabled()
    assert torch.equal(found.images, carry_out(case, world, batch).images)


def test_sga_attacks_the_captions_last_by_the_image_it_found(world: TinyWorld) -> None:
    """Its two passes over the text differ in their guide alone."""
    first, image, last = SGA().recipe()
    assert isinstance(first, TextStep)
    assert isinstance(last, TextStep)
    assert (first.guide, image.guide, last.guide) == ("original", "current", "current")  # type: ignore[union-attr]
    assert first.search == last.search
    assert [step.guide for step in DRA().recipe()][:2] == ["original", "current"]  # type: ignore[union-attr]


# The alternation.


def context_of(world: TinyWorld, batch: RetrievalBatch, threat_model: ThreatModel) -> Context:
    model = copy.deepcopy(world.model).eval()
    assert batch.numbers is not None
    return Run.begin(model, batch, threat_model, world.language, noise(batch.numbers)).context


@torch.no_grad()
def losses(
    world: TinyWorld,
    batch: RetrievalBatch,
    found: Adversarial | None = None,
    margin: ImageObjective = soft_margin,
) -> Tensor:
    """The soft margin of each item, from scratch."""
    model = copy.deepcopy(world.model).eval()
    images, captions = (found.images, found.captions) if found else (batch.images, batch.captions)
    context = context_of(world, batch, BOTH)
    return margin(model.encode_image(images), model.encode_text(captions), context)


ADAPTIVE = Adaptive(steps=4, rounds=2, restarts=1, text=TextSearch())


@pytest.mark.parametrize("image", [LINF, L2], ids=["linf", "l2"])
def test_restarts_and_rounds_never_lower_an_items_loss(image: Any, world: TinyWorld) -> None:
    batch = world.batch(list(EVERYBODY))
    threat_model = ThreatModel(image=image, text=TWO_WORDS)
    reached = [losses(world, batch)]
    for more in ({"rounds": 1}, {"rounds": 2}, {"rounds": 2, "restarts": 3}):
        attack = replace(ADAPTIVE, **more)  # type: ignore[arg-type]
        case = Case(attack=attack, threat_model=threat_model)
        reached.append(losses(world, batch, carry_out(case, world, batch)))
        assert bool((reached[-1] >= reached[-2] - 1e-4).all())
    assert bool((reached[1] > reached[0] + 1).all())
    assert bool((reached[3] > reached[2] + 1e-3).any())


def test_what_only_makes_things_worse_is_not_kept(world: TinyWorld) -> None:
    step = Alternate(
        image=ImageStep(search=Steered(0.05), guide="current"),
        text=TextStep(search=TextSearch(), guide="current"),
        loss=lambda image, text, context: -(image - context.image).norm(dim=1),
        rounds=3,
        restarts=3,
    )
    found, batch = run_steps(world, step), world.batch(FEW)
    assert torch.equal(found.images, batch.images)
    assert found.captions == batch.captions


def test_the_adaptive_attack_is_no_weaker_than_one_round_of_sga(world: TinyWorld) -> None:
    batch = world.batch(list(EVERYBODY))
    sga = SGA(step_size=0.02, steps=5, scales=(1.25,), noise_std=0.01, text=TextSearch())
    ours, theirs = (
        losses(world, batch, carry_out(Case(attack=attack, threat_model=BOTH), world, batch))
        for attack in (ADAPTIVE, sga)
    )
    assert float(ours.mean()) > float(theirs.mean())


@pytest.mark.parametrize(
    ("direction", "margin"), [("i2t", soft_margin_i2t), ("t2i", soft_margin_t2i)]
)
def test_a_direction_alone_is_climbed_item_by_item(
    world: TinyWorld, direction: Any, margin: ImageObjective
) -> None:
    batch = world.batch(list(EVERYBODY))
    attack = replace(ADAPTIVE, direction=direction, restarts=2)
    found = carry_out(Case(attack=attack, threat_model=BOTH), world, batch)
    before, after = losses(world, batch, None, margin), losses(world, batch, found, margin)
    assert bool((after >= before).all())
    assert float((after - before).mean()) > 5
    (step,) = attack.recipe()
    assert isinstance(step, Alternate)
    assert step.loss is step.image.objective is margin


def test_of_a_round_only_what_helps_is_kept(world: TinyWorld) -> None:
    """Captions that leave themselves are a gain, and any move of the image a greater loss."""

    def loss(image: Tensor, text: Tensor, context: Context) -> Tensor:
        gain = context.per_image((text - context.text).norm(dim=1))
        return gain - 100 * (image - context.image).norm(dim=1)

    step = Alternate(
        image=ImageStep(search=Steered(0.05), guide="current"),
        text=TextStep(search=TextSearch(), guide="current", objective=away_from_text),
        loss=loss,
        rounds=2,
        restarts=1,
    )
    found, batch = run_steps(world, step), world.batch(FEW)
    assert torch.equal(found.images, batch.images)
    assert found.words_changed.tolist() == [2] * len(batch.captions)


def test_an_item_does_not_depend_on_who_else_still_rises(world: TinyWorld) -> None:
    """Some items stop rising sooner than others; any company gives the same, draws included."""
    search = GradientAscent(step_size=0.03, steps=2, scales=(1.25,), noise_std=0.02)
    step = Alternate(
        image=ImageStep(search=search, guide="current", objective=soft_margin),
        text=TextStep(search=TextSearch(), guide="current", objective=text_soft_margin),
        loss=soft_margin,
        rounds=6,
        restarts=2,
    )
    case, exact = Case(attack=Made(steps=(step,)), threat_model=BOTH), world.double()
    whole = carry_out(case, exact, exact.batch(FEW))
    assert len(set(whole.image_passes.tolist())) > 2
    captions: dict[int, list[str]] = {number: [] for number in FEW}
    for caption, owner in zip(whole.captions, exact.batch(FEW).caption_image, strict=True):
        captions[FEW[int(owner)]].append(caption)
    for company in ([47, 5], [17, 1, 30], [4]):
        found = carry_out(case, exact, exact.batch(company))
        rows = [FEW.index(number) for number in company]
        assert float((found.images - whole.images[rows]).abs().max()) < 1e-9
        assert list(found.captions) == [c for number in company for c in captions[number]]
        assert found.image_passes.tolist() == whole.image_passes[rows].tolist()


def test_a_part_of_a_run_knows_all_of_its_items(world: TinyWorld) -> None:
    batch = world.batch(FEW)
    run = Run.begin(copy.deepcopy(world.model).eval(), batch, BOTH, world.language, noise(FEW))
    part = run.part([4, 1]).part([1, 0])  # items 1 and 4 of the batch, in this order
    rows = [row for row, owner in enumerate(batch.caption_image.tolist()) if owner in (1, 4)]
    assert part.items.tolist() == [1, 4]
    assert part.context.own.tolist() == [FEW[1], FEW[4]]
    assert part.batch.captions == tuple(batch.captions[row] for row in rows)
    owners = [int(batch.caption_image[row]) for row in rows]
    assert part.batch.caption_numbers() == [FEW[owner] for owner in owners]
    assert part.context.caption_image.tolist() == [[1, 4].index(owner) for owner in owners]
    for mine, whole in ((part.images, run.images), (part.context.image, run.context.image)):
        assert torch.equal(mine, whole[[1, 4]])
    for mine, whole in ((part.text, run.text), (part.context.text, run.context.text)):
        assert torch.equal(mine, whole[rows])
    drawn = part.noise.uniform(torch.empty(2, 5))
    assert torch.equal(drawn, noise(FEW).uniform(torch.empty(len(FEW), 5))[[1, 4]])


def test_items_that_no_longer_rise_are_left_alone(world: TinyWorld) -> None:
    """The first item's loss rises with its brightness, the others' not at all."""
    search = Steered(0.01)
    bright = ImageStep(search=search, guide="current")

    class OneRises:
        def __call__(self, image: Tensor, text: Tensor, context: Context) -> Tensor:
            moved = (image - context.image).norm(dim=1)
            return torch.where(context.own == FEW[0], moved, torch.zeros_like(moved))

    step = Alternate(
        image=bright,
        text=TextStep(search=TextSearch(), guide="current"),
        loss=OneRises(),
        rounds=4,
        restarts=1,
    )
    found = run_steps(world, step, threat_model=replace(BOTH, text=TextBudget(words=0)))
    assert found.image_passes.tolist() == [4, 1, 1, 1, 1, 1]
    moved = (found.images - world.batch(FEW).images).flatten(1).mean(dim=1)
    torch.testing.assert_close(moved, torch.tensor([0.04, 0, 0, 0, 0, 0]), atol=1e-6, rtol=0)


class Edges(ItemNoise):
    """Draws that lie on the edge of every ball."""

    def uniform(self, like: Tensor) -> Tensor:
        return torch.full_like(like, 1.0 - 2**-24)

    def take(self, rows: Any) -> Edges:
        return Edges([self._generators[row] for row in rows])


@pytest.mark.parametrize("image", [LINF, L2], ids=["linf", "l2"])
def test_a_restart_begins_within_the_budget_exactly(image: Any, world: TinyWorld) -> None:
    """Where nothing is better than the random image itself, it is the outcome."""
    step = Alternate(
        image=ImageStep(search=Steered(0.0), guide="current"),
        text=TextStep(search=TextSearch(), guide="current"),
        loss=lambda image, text, context: (image - context.image).norm(dim=1),
        rounds=1,
        restarts=2,
    )
    batch = world.batch(list(EVERYBODY))
    found = Made(steps=(step,))(
        world.model,
        batch,
        threat_model=ThreatModel(image=image, text=TextBudget(words=0)),
        language=world.language,
        noise=Edges.of(0, items=EVERYBODY),
    )
    assert float(found.perturbation.max()) <= image.eps
    assert float(found.perturbation.min()) > 0.9 * image.eps


# As tabulated from the released code (SGA at f49e692, Co-Attack at 96f2c0e, DRA at 572c093).
RELEASED: dict[str, dict[str, object]] = {
    "sga": {
        "step_size": 0.5 / 255,
        "steps": 10,
        "scales": (0.5, 0.75, 1.25, 1.5),
        "noise_std": 0.05,
    },
    "co_attack": {"alpha": 3.0, "step_size": None, "steps": 10},
    "sep_attack": {"step_size": None, "steps": 10},
    "dra": {
        "steps": 10,
        "samples": 5,
        "scales": (0.5, 0.75, 1.25, 1.5),
        "noise_std": 0.05,
        "original": 0.6,
        "current": 0.2,
        "previous": 0.2,
    },
    "bert_attack_released": {"k": 10, "threshold": 0.3, "objective": "away_from_text"},
    "pgd": {"step_size": 0.5 / 255, "steps": 10, "objective": "positive_pair"},
}


@pytest.mark.parametrize("name", RELEASED)
def test_defaults_are_those_of_the_released_code(name: str) -> None:
    attack = resolve(ATTACKS, name, kind="attack", base=Attack)()
    for field, value in RELEASED[name].items():
        assert getattr(attack, field) == value, field
    text = getattr(attack, "text", None)
    assert text is None or text == bert_search(k=10, threshold=0.3, aligned=False)
    if name in ("co_attack", "sep_attack"):
        images = [step for step in attack.recipe() if isinstance(step, ImageStep)]
        assert [step.search.random_start for step in images] == ["one_sided"]  # type: ignore[attr-defined]
