"""What every attack must hold to, as functions that raise AssertionError, and their table."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from tests.attacks.tiny_world import ITEMS, TinyWorld, is_true, noise
from torch import Tensor

from mmrobust.attacks.adaptive import Adaptive
from mmrobust.attacks.apgd import APGD
from mmrobust.attacks.base import Adversarial, Attack
from mmrobust.attacks.bert_attack import BertAttack
from mmrobust.attacks.bert_attack_released import BertAttackReleased
from mmrobust.attacks.character_edits import CharacterEdits
from mmrobust.attacks.co_attack import CoAttack
from mmrobust.attacks.di_fgsm import DIFGSM
from mmrobust.attacks.dra import DRA
from mmrobust.attacks.fgsm import FGSM
from mmrobust.attacks.image_search.input_diversity import InputDiversity
from mmrobust.attacks.mi_fgsm import MIFGSM
from mmrobust.attacks.multi_scale_pgd import MultiScalePGD
from mmrobust.attacks.pgd import PGD
from mmrobust.attacks.run import RetrievalBatch
from mmrobust.attacks.sep_attack import SepAttack
from mmrobust.attacks.sga import SGA
from mmrobust.attacks.square import Square
from mmrobust.attacks.steps import Alternate, Step, TextStep
from mmrobust.attacks.text_search.candidates import GrammarCandidates
from mmrobust.attacks.text_search.constraints import Antonyms, StaysTrue
from mmrobust.attacks.text_search.importance import Gradient
from mmrobust.attacks.text_search.memory import TextMemory
from mmrobust.attacks.text_search.search import TextSearch
from mmrobust.attacks.word_substitution import WordSubstitution
from mmrobust.intervals import Resampling, difference_interval
from mmrobust.threat import ImageBudget, TextBudget, ThreatModel

EVERYBODY = range(len(ITEMS))
FEW = (1, 4, 5, 17, 30, 47)
LINF, L2 = ImageBudget(eps=0.06), ImageBudget(norm="l2", eps=0.8)
TWO_WORDS = TextBudget(words=2)


@dataclass(frozen=True, kw_only=True)
class Case:
    """An attack under a threat model, and what is to be known of it.

    Fields:
        draws: whether it draws random numbers.
        negatives: whether its objective reads the gallery: without one it is the batch's own.
    """

    attack: Attack
    threat_model: ThreatModel
    draws: bool = False
    negatives: bool = False


@dataclass(frozen=True, kw_only=True)
class Made(Attack):
    """An attack of whatever steps."""

    steps: tuple[Step, ...]

    def recipe(self) -> tuple[Step, ...]:
        return self.steps


def _images(attack: Attack, *, draws: bool, negatives: bool = False) -> list[Case]:
    """An attack on images alone, under both norms."""
    knowledge = "white_box" if attack.uses_gradients() else "query"
    cases = []
    for image in (LINF, L2):
        if image is L2 and getattr(attack, "step_size", None) is not None:
            attack = replace(attack, step_size=0.3)  # type: ignore[call-arg]
        model = ThreatModel(knowledge=knowledge, image=image)
        cases.append(Case(attack=attack, threat_model=model, draws=draws, negatives=negatives))
    return cases


def _texts(*cases: tuple[Attack, TextBudget]) -> list[Case]:
    return [Case(attack=attack, threat_model=ThreatModel(text=text)) for attack, text in cases]


def _joint(attack: Attack, *norms: ImageBudget, negatives: bool = False) -> list[Case]:
    models = [ThreatModel(image=image, text=TWO_WORDS) for image in norms]
    return [Case(attack=attack, threat_model=m, draws=True, negatives=negatives) for m in models]


_EXHAUSTIVE = TextSearch(constraints=(StaysTrue(),), method="exhaustive")
_BEAM = TextSearch(candidates=GrammarCandidates(), constraints=(Antonyms(),), method="beam")
_BY_GRADIENT = TextSearch(importance=Gradient())

TABLE: dict[str, list[Case]] = {
    "adaptive": _joint(Adaptive(steps=4, rounds=2), LINF, L2, negatives=True)
    + _joint(Adaptive(direction="i2t", steps=4, rounds=2), LINF, negatives=True)
    + _joint(Adaptive(direction="t2i", steps=4, rounds=2), LINF, negatives=True),
    "apgd": _images(APGD(steps=6, restarts=2), draws=True, negatives=True),
    "bert_attack": _texts(
        (BertAttack(), TWO_WORDS), (BertAttack(objective="away_from_image"), TWO_WORDS)
    ),
    "bert_attack_released": _texts((BertAttackReleased(), TWO_WORDS)),
    "character_edits": _texts((CharacterEdits(per_word=6), TextBudget(words=3, characters=2))),
    "co_attack": _joint(CoAttack(steps=5), LINF, L2),
    "sep_attack": _joint(SepAttack(steps=5), LINF, L2),
    "di_fgsm": _images(
        DIFGSM(step_size=0.02, steps=6, diversity=InputDiversity(resize_rate=0.8)), draws=True
    ),
    "dra": _joint(DRA(step_size=0.03, steps=4, samples=2, scales=(1.25,), noise_std=0.01), LINF)
    + _joint(DRA(step_size=0.3, steps=4, samples=2, scales=(1.25,), noise_std=0.01), L2),
    "fgsm": _images(FGSM(), draws=False),
    "mi_fgsm": _images(MIFGSM(step_size=0.02, steps=5), draws=False),
    "multi_scale_pgd": _images(
        MultiScalePGD(step_size=0.02, steps=5, scales=(0.75, 1.25), noise_std=0.01), draws=True
    ),
    "pgd": _images(PGD(step_size=0.02, steps=5), draws=True),
    "sga": _joint(SGA(step_size=0.02, steps=5, scales=(1.25,), noise_std=0.01), LINF)
    + _joint(SGA(step_size=0.3, steps=4, scales=(1.25,), noise_std=0.01), L2),
    "square": _images(Square(queries=100), draws=True, negatives=True),
    "word_substitution": _texts(
        (WordSubstitution(), TextBudget(words=2, keeps_truth=True)),
        (WordSubstitution(text=_EXHAUSTIVE), TWO_WORDS),
        (WordSubstitution(text=_BEAM), TextBudget(words=1)),
        (WordSubstitution(text=_BY_GRADIENT), TWO_WORDS),
    ),
}


def carry_out(case: Case, world: TinyWorld, batch: RetrievalBatch, *, seed: int = 0) -> Adversarial:
    """Run a case's attack."""
    assert batch.numbers is not None
    return case.attack(
        world.model,
        batch,
        threat_model=case.threat_model,
        language=world.language,
        noise=noise(batch.numbers, seed),
    )


def check_budget(case: Case, world: TinyWorld) -> None:
    """Counted without the package's own code and without a tolerance."""
    batch = world.batch(FEW)
    edges = ((batch.images - 0.5) * 8 + 0.5).clamp(0, 1)  # many pixels are 0 or 1
    batch = replace(batch, images=edges)
    found = carry_out(case, world, batch)
    assert bool(((found.images >= 0) & (found.images <= 1)).all())
    delta = (found.images.double() - batch.images.double()).flatten(1)
    image = case.threat_model.image
    if image is None:
        assert torch.equal(found.images, batch.images)
    else:
        sizes = delta.abs().amax(1) if image.norm == "linf" else delta.square().sum(1).sqrt()
        assert float(sizes.max()) <= image.eps
        assert float(sizes.min()) > 0
        assert float((found.perturbation - sizes).abs().max()) <= 1e-12
    _check_text(case.threat_model.text or TextBudget(words=0), batch, found)


def _check_text(budget: TextBudget, batch: RetrievalBatch, found: Adversarial) -> None:
    assert batch.numbers is not None
    assert len(found.captions) == len(batch.captions)
    for row, (before, after) in enumerate(zip(batch.captions, found.captions, strict=True)):
        old, new = before.split(" "), after.split(" ")
        assert len(old) == len(new)
        words = sum(a != b for a, b in zip(old, new, strict=True))
        assert words == found.words_changed[row]
        assert words <= budget.words
        edits = levenshtein(before, after)
        assert edits == found.characters_changed[row]
        assert budget.characters is None or edits <= budget.characters
        number = batch.numbers[int(batch.caption_image[row])]
        assert not budget.keeps_truth or after == before or is_true([after], [number]).all()


def levenshtein(one: str, other: str) -> int:
    """Edits between two texts, by the textbook's table."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(other, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


def check_identity(case: Case, world: TinyWorld) -> None:
    """Nothing changes where nothing may."""
    model = case.threat_model
    nothing = replace(
        model,
        image=None if model.image is None else replace(model.image, eps=0.0),
        text=None if model.text is None else replace(model.text, words=0),
    )
    batch = world.batch(FEW)
    found = carry_out(replace(case, threat_model=nothing), world, batch)
    assert torch.equal(found.images, batch.images)
    assert found.captions == batch.captions


def check_repeatable(case: Case, world: TinyWorld) -> None:
    """The same draws give the same bits; other draws matter just where there are any."""
    batch = world.batch(FEW)
    one, same, other = (carry_out(case, world, batch, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one.images, same.images)
    assert one.captions == same.captions
    assert torch.equal(one.images, other.images) != case.draws


def check_items_apart(case: Case, world: TinyWorld) -> None:
    """A batch is its items one by one, in double precision so that rounding decides nothing."""
    world = world.double()
    for gallery in (True, False):
        if case.negatives and not gallery:
            continue
        together = carry_out(case, world, world.batch(FEW, gallery=gallery))
        alone = [carry_out(case, world, world.batch([at], gallery=gallery)) for at in FEW]
        assert together.captions == tuple(text for each in alone for text in each.captions)
        images = torch.cat([each.images for each in alone])
        assert float((together.images - images).abs().max()) <= 1e-5


def check_untouched(case: Case, world: TinyWorld) -> None:
    """Parameters, their gradients, modes, the batch and global generators stay as they are."""
    world = replace(world, model=copy.deepcopy(world.model).train())
    model, batch = world.model, world.batch(FEW)
    model.dropout.eval()  # a mode of its own
    model.places.requires_grad_(False)
    model.out.grad = torch.full_like(model.out, 3.0)

    def state() -> list[object]:
        parameters = dict(model.named_parameters())
        return [
            {name: value.tolist() for name, value in parameters.items()},
            {n: None if p.grad is None else p.grad.tolist() for n, p in parameters.items()},
            {name: value.requires_grad for name, value in parameters.items()},
            [module.training for module in model.modules()],
            torch.get_rng_state().tolist(),
            str(np.random.get_state()),  # noqa: NPY002
            (batch.images.tolist(), batch.captions, batch.caption_image.tolist()),
            torch.is_grad_enabled(),
        ]

    before = state()
    carry_out(case, world, batch)
    for was, now in zip(before, state(), strict=True):
        assert was == now


def check_lowers_recall(case: Case, world: TinyWorld) -> None:
    """Recall falls further than by chance within the same budget, by a paired interval.

    Chance must do little itself, at most half of what the attack does.
    """
    batch = world.batch(list(EVERYBODY))
    found = carry_out(case, world, batch)
    chance = by_chance(case, world, batch)
    clean = world.hits(batch.images, batch.captions)
    attacked, control = world.hits(found.images, found.captions), world.hits(*chance)
    interval = difference_interval(
        [attacked],
        [control],
        world.queries(),
        Resampling(n_resamples=500, confidence=0.95, generator=np.random.default_rng(0)),
    )
    assert interval.high < 0
    assert clean.sum() - control.sum() < (clean.sum() - attacked.sum()) / 2


def by_chance(case: Case, world: TinyWorld, batch: RetrievalBatch) -> tuple[Tensor, Sequence[str]]:
    """Noise on the ball and substitutions drawn from the attack's own candidates."""
    images, captions, budget = batch.images, list(batch.captions), case.threat_model.image
    generator, draw = torch.Generator().manual_seed(1), np.random.default_rng(1)
    if budget is not None and budget.norm == "linf":
        uniform = 2 * torch.rand(images.shape, generator=generator) - 1
        images = (images + budget.eps * uniform).clamp(0, 1)
    elif budget is not None:
        normal = torch.randn(images.shape, generator=generator)
        length = normal.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        images = (images + budget.eps * normal / length).clamp(0, 1)
    if case.threat_model.text is not None:
        for row, choices in enumerate(_search(case).choices(
            TextMemory(world.model), captions, world.language
        )):  # fmt: skip
            words = captions[row].split(" ")
            places = [place for place, others in enumerate(choices) if others]
            count = min(case.threat_model.text.words, len(places))
            for place in draw.choice(places, count, replace=False):
                words[place] = draw.choice(choices[place])
            captions[row] = " ".join(words)
    return images, captions


def _search(case: Case) -> TextSearch:
    """The first text search of a recipe."""
    steps = [s.text if isinstance(s, Alternate) else s for s in case.attack.recipe()]
    return next(step.search for step in steps if isinstance(step, TextStep))
