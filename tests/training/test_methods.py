from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from tests.attacks.conftest import LEXICON, ToyEncoder
from torch import Tensor

import mmrobust.training.leaf as leaf_module
from mmrobust.attacks.image_search.gradient_ascent import GradientAscent
from mmrobust.attacks.noise import ItemNoise
from mmrobust.attacks.text_search.base import Language, words_changed
from mmrobust.attacks.text_search.search import TextSearch
from mmrobust.registry import resolve
from mmrobust.training import TRAINING_METHODS
from mmrobust.training.base import Setting, TrainingBatch, TrainingMethod
from mmrobust.training.fare import FARE
from mmrobust.training.leaf import LEAF
from mmrobust.training.mat import MAT
from mmrobust.training.mmcoa import MMCoA
from mmrobust.training.pmg_aft import PMGAFT
from mmrobust.training.standard import Standard
from mmrobust.training.tecoa import TeCoA
from mmrobust.training.trades import Trades

PGD: dict[str, Any] = {"eps": 0.1, "step_size": 0.05, "steps": 2}
METHODS: dict[str, TrainingMethod] = {
    "standard": Standard(),
    "tecoa": TeCoA(**PGD),
    "fare": FARE(**PGD),
    "pmg_aft": PMGAFT(**PGD, original_weight=0.7, clean_weight=0.3),
    "leaf": LEAF(rho=6, constrained=False),
    "mmcoa": MMCoA(**PGD),
    "mat": MAT(**PGD),
    "trades": Trades(**PGD, beta=2.0),
}
VARIANTS = {
    **METHODS,
    "image_first": MAT(**PGD, order="image_first"),
    "independent": MAT(**PGD, order="independent"),
    "positive_pair": MAT(**PGD, inner_loss="positive_pair"),
    "half_clean": MAT(**PGD, clean_weight=0.5),
}
ATTACKING_IMAGES = {name: m for name, m in VARIANTS.items() if name not in ("standard", "leaf")}


def every(methods: dict[str, TrainingMethod]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("method", methods.values(), ids=methods)


class Spelling(ToyEncoder):
    """Captions as sums over characters, so that any edit has an embedding."""

    def tokenize(self, captions: Sequence[str]) -> Tensor:
        rows = [[1 + ord(character) % 10 for character in caption] for caption in captions]
        longest = max(map(len, rows))
        return torch.tensor([row + [0] * (longest - len(row)) for row in rows])


@pytest.fixture
def model() -> ToyEncoder:
    model = ToyEncoder()
    model.dropout = torch.nn.Identity()  # type: ignore[assignment]
    return model.train()


@pytest.fixture
def original() -> ToyEncoder:
    """What the model started from, which it has since moved away from."""
    model = ToyEncoder(seed=3)
    model.dropout = torch.nn.Identity()  # type: ignore[assignment]
    return model.eval().requires_grad_(False)


@pytest.fixture
def batch() -> TrainingBatch:
    images = 0.2 + 0.6 * torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    captions = ("a big red ring", "a blue star", "big ring")
    return TrainingBatch(images, captions, torch.eye(3, dtype=torch.bool))


def spelt(model: ToyEncoder) -> ToyEncoder:
    """The same weights with captions read by characters, as LEAF's edits need."""
    other = Spelling()
    other.dropout = torch.nn.Identity()  # type: ignore[assignment]
    other.load_state_dict(model.state_dict())
    return other.train(model.training)


def setting(original: ToyEncoder, images: int = 3) -> Setting:
    return Setting(
        language=Language(synonyms=LEXICON),
        noise=ItemNoise.of(0, items=range(images)),
        generator=torch.Generator().manual_seed(0),
        original=original,
    )


def losses_of(
    method: TrainingMethod, model: ToyEncoder, batch: TrainingBatch, original: ToyEncoder
) -> dict[str, Tensor]:
    if isinstance(method, LEAF):
        model, original = spelt(model), spelt(original)
    return method.losses(model, batch, setting(original, len(batch.images)))


def loss_of(
    method: TrainingMethod, model: ToyEncoder, batch: TrainingBatch, original: ToyEncoder
) -> Tensor:
    return torch.stack(list(losses_of(method, model, batch, original).values())).sum()


# The published formulas, pair by pair and in plain numbers


def similarity(model: ToyEncoder, images: Tensor, captions: Sequence[str]) -> list[list[float]]:
    with torch.no_grad():
        rows: list[list[float]] = (
            10 * model.encode_image(images) @ model.encode_text(captions).T
        ).tolist()
    return rows


def shares(row: Sequence[float]) -> list[float]:
    total = math.fsum(math.exp(value) for value in row)
    return [math.exp(value) / total for value in row]


def clip_loss(logits: list[list[float]]) -> float:
    columns = list(map(list, zip(*logits, strict=True)))
    n = len(logits)
    right = [math.log(shares(logits[i])[i]) + math.log(shares(columns[i])[i]) for i in range(n)]
    return -math.fsum(right) / (2 * n)


def kl(one: list[list[float]], other: list[list[float]]) -> float:
    total = 0.0
    for p, q in (
        *zip(one, other, strict=True),
        *zip(zip(*one, strict=True), zip(*other, strict=True), strict=True),
    ):
        pairs = zip(shares(p), shares(q), strict=True)
        total += math.fsum(a * math.log(a / b) for a, b in pairs)
    return total / (2 * len(one))


def squared(one: list[float], other: list[float]) -> float:
    return math.fsum((a - b) ** 2 for a, b in zip(one, other, strict=True))


class Watched:
    """The inputs that a method's outer loss reads: those encoded in training mode."""

    def __init__(self, model: ToyEncoder) -> None:
        self.images: list[Tensor] = []
        self.captions: list[list[str]] = []
        image, tokenize = model.project_image, model.tokenize

        def see(images: Tensor) -> Tensor:
            if model.training:
                self.images.append(images.detach().clone())
            return image(images)

        def read(captions: Sequence[str]) -> Tensor:
            if model.training:
                self.captions.append(list(captions))
            return tokenize(captions)

        model.project_image, model.tokenize = see, read  # type: ignore[method-assign]


Formula = Callable[[ToyEncoder, ToyEncoder, TrainingBatch, Watched], float]


def standard(model: ToyEncoder, _: ToyEncoder, batch: TrainingBatch, __: Watched) -> float:
    return clip_loss(similarity(model, batch.images, batch.captions))


def tecoa(model: ToyEncoder, _: ToyEncoder, batch: TrainingBatch, seen: Watched) -> float:
    (images,) = seen.images
    return clip_loss(similarity(model, images, batch.captions))


def fare(model: ToyEncoder, original: ToyEncoder, batch: TrainingBatch, seen: Watched) -> float:
    (images,) = seen.images
    total = 0.0
    for moved, clean in zip(images, batch.images, strict=True):
        ours = (moved.flatten() - 0.5) @ model.weight.T
        theirs = (clean.flatten() - 0.5) @ original.weight.T
        total += squared(ours.tolist(), theirs.tolist())
    return total / 3


def pmg_aft(model: ToyEncoder, original: ToyEncoder, batch: TrainingBatch, seen: Watched) -> float:
    moved, clean = seen.images
    assert torch.equal(clean, batch.images)
    answer = similarity(model, moved, batch.captions)
    guide = similarity(original, moved, batch.captions)
    own = similarity(model, clean, batch.captions)
    return clip_loss(answer) + 0.7 * kl(answer, guide) + 0.3 * kl(answer, own)


def leaf(model: ToyEncoder, original: ToyEncoder, batch: TrainingBatch, seen: Watched) -> float:
    captions = seen.captions[-1]
    total = 0.0
    for edited, caption in zip(captions, batch.captions, strict=True):
        ours = model.words[[1 + ord(c) % 10 for c in edited]].sum(dim=0)
        theirs = original.words[[1 + ord(c) % 10 for c in caption]].sum(dim=0)
        total += squared(ours.tolist(), theirs.tolist())
    return total / 3


def mmcoa(model: ToyEncoder, _: ToyEncoder, batch: TrainingBatch, seen: Watched) -> float:
    moved, clean = seen.images
    plain, captions = seen.captions
    assert torch.equal(clean, batch.images)
    assert tuple(plain) == batch.captions
    halves = similarity(model, moved, batch.captions), similarity(model, clean, captions)
    return math.fsum(map(clip_loss, halves)) / 2


def mat(model: ToyEncoder, _: ToyEncoder, batch: TrainingBatch, seen: Watched) -> float:
    (images,), (captions,) = seen.images, seen.captions
    return clip_loss(similarity(model, images, captions))


def half_clean(model: ToyEncoder, _: ToyEncoder, batch: TrainingBatch, seen: Watched) -> float:
    images, captions = seen.images[0], seen.captions[0]
    clean = clip_loss(similarity(model, batch.images, batch.captions))
    return (clip_loss(similarity(model, images, captions)) + clean) / 2


def trades(model: ToyEncoder, _: ToyEncoder, batch: TrainingBatch, seen: Watched) -> float:
    clean = similarity(model, batch.images, batch.captions)
    moved = similarity(model, seen.images[-1], seen.captions[-1])
    return clip_loss(clean) + 2 * kl(clean, moved)


FORMULAS: dict[str, Formula] = {
    "standard": standard,
    "tecoa": tecoa,
    "fare": fare,
    "pmg_aft": pmg_aft,
    "leaf": leaf,
    "mmcoa": mmcoa,
    "mat": mat,
    "image_first": mat,
    "independent": mat,
    "positive_pair": mat,
    "half_clean": half_clean,
    "trades": trades,
}


@pytest.mark.parametrize("name", VARIANTS)
def test_losses_are_the_published_formulas(
    name: str, model: ToyEncoder, original: ToyEncoder, batch: TrainingBatch
) -> None:
    if name == "leaf":
        model, original = spelt(model), spelt(original)
    seen = Watched(model)
    losses = VARIANTS[name].losses(model, batch, setting(original))
    found = sum(float(loss.detach()) for loss in losses.values())
    model.eval()
    assert found == pytest.approx(FORMULAS[name](model, original, batch, seen), rel=1e-5)


@every(ATTACKING_IMAGES)
def test_images_stay_within_their_ball_and_captions_within_their_words(
    method: TrainingMethod, model: ToyEncoder, original: ToyEncoder, batch: TrainingBatch
) -> None:
    seen = Watched(model)
    losses_of(method, model, batch, original)
    moved = max(float((images - batch.images).abs().max()) for images in seen.images)
    assert 0.05 < moved <= 0.1 + 1e-6
    for captions in seen.captions:
        for before, after in zip(batch.captions, captions, strict=True):
            assert words_changed(before, after) <= 1


def test_every_registered_method_is_under_test() -> None:
    assert METHODS.keys() == TRAINING_METHODS.keys()
    for name, method in METHODS.items():
        cls = resolve(TRAINING_METHODS, name, kind="method", base=TrainingMethod)
        assert type(method) is cls


@pytest.mark.parametrize("name", ["tecoa", "mat", "image_first", "independent", "positive_pair"])
def test_adversarial_training_sees_a_higher_loss(
    name: str, model: ToyEncoder, original: ToyEncoder, batch: TrainingBatch
) -> None:
    clean = float(loss_of(Standard(), model, batch, original).detach())
    assert float(loss_of(VARIANTS[name], model, batch, original).detach()) > clean + 0.01


@pytest.mark.parametrize("name", ["fare", "trades", "leaf"])
def test_the_attack_raises_what_is_minimised(
    name: str, model: ToyEncoder, original: ToyEncoder, batch: TrainingBatch
) -> None:
    still: dict[str, TrainingMethod] = {
        "fare": FARE(eps=0.0),
        "trades": Trades(eps=0.0, words=0, beta=2.0),
        "leaf": LEAF(rho=1, constrained=True),  # of no known words: no edit is allowed
    }
    before = float(loss_of(still[name], model, batch, original).detach())
    assert float(loss_of(METHODS[name], model, batch, original).detach()) > before + 0.01


def test_mat_raises_the_loss_beyond_image_training(
    model: ToyEncoder, original: ToyEncoder, batch: TrainingBatch
) -> None:
    """Of captions that the text step moves away from their images."""
    tecoa = loss_of(METHODS["tecoa"], model, batch, original)
    mat = loss_of(METHODS["mat"], model, batch, original)
    assert float(mat.detach()) > float(tecoa.detach())


@every(
    {
        "tecoa": TeCoA(eps=0.0),
        "mat": MAT(eps=0.0, words=0),
        "clean": MAT(**PGD, clean_weight=1.0),
        "mmcoa": MMCoA(eps=0.0, words=0),
        "trades": Trades(eps=0.0, words=0, beta=3.0),
        "pmg_aft": PMGAFT(eps=0.0, original_weight=0.0),
    }
)
def test_without_a_budget_it_is_standard_training(
    method: TrainingMethod, model: ToyEncoder, original: ToyEncoder, batch: TrainingBatch
) -> None:
    expected = loss_of(Standard(), model, batch, original)
    torch.testing.assert_close(loss_of(method, model, batch, original), expected)


def test_fare_without_a_budget_is_plain_distillation(
    model: ToyEncoder, original: ToyEncoder, batch: TrainingBatch
) -> None:
    found = loss_of(FARE(eps=0.0), model, batch, original)
    ours, theirs = model.project_image(batch.images), original.project_image(batch.images)
    torch.testing.assert_close(found, (ours - theirs).square().sum(dim=1).mean())
    same = copy.deepcopy(model).eval().requires_grad_(False)
    assert float(loss_of(FARE(eps=0.0), model, batch, same).detach()) == 0.0


@every(VARIANTS)
def test_the_attack_leaks_no_gradient_into_the_parameters(
    method: TrainingMethod,
    model: ToyEncoder,
    original: ToyEncoder,
    batch: TrainingBatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The parameters' gradient is that of the loss at the inputs found, as if they were given."""
    if isinstance(method, LEAF):
        model, original = spelt(model), spelt(original)

    def loss() -> Tensor:
        return torch.stack(list(method.losses(model, batch, setting(original)).values())).sum()

    found = Found(monkeypatch)
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(loss(), parameters, allow_unused=True)
    assert all(parameter.grad is None for parameter in parameters)
    assert all(module.training for module in model.modules())
    found.replay()
    for parameter, gradient in zip(parameters, gradients, strict=True):
        direction = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(7))
        values = []
        for step in (1e-3, -2e-3, 1e-3):
            parameter.data.add_(step * direction)
            values.append(float(loss().detach()))
        slope = (values[0] - values[1]) / 2e-3
        expected = 0.0 if gradient is None else float((gradient * direction).sum())
        assert slope == pytest.approx(expected, rel=0.02, abs=0.02)


class Found:
    """Notes what the searches inside a method find, and gives the same again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.outcomes: list[Any] = []
        self.replaying = False
        self.turn = 0
        for owner, name in (
            (GradientAscent, "__call__"),
            (TextSearch, "__call__"),
            (leaf_module, "levenshtein_search"),
        ):
            monkeypatch.setattr(owner, name, self.noting(getattr(owner, name)))

    def noting(self, search: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            if not self.replaying:
                self.outcomes.append(search(*arguments, **keywords))
                return self.outcomes[-1]
            self.turn += 1
            return self.outcomes[(self.turn - 1) % len(self.outcomes)]

        return call

    def replay(self) -> None:
        self.replaying = True


# What the attacks inside a method look for


class Asked:
    """Notes what the searches inside a method are asked, and what they find."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ascents: list[tuple[GradientAscent, dict[str, Any]]] = []
        self.images: list[Tensor] = []
        self.objectives: list[Callable[[Tensor], Tensor]] = []
        self.captions: list[list[str]] = []
        self.guides: list[Tensor] = []
        ascend, substitute = GradientAscent.__call__, TextSearch.__call__

        def ascending(search: GradientAscent, objective: Any, images: Tensor, **told: Any) -> Any:
            self.ascents.append((search, told))
            self.objectives.append(objective)
            found = ascend(search, objective, images, **told)
            self.images.append(found.images)
            return found

        def substituting(
            search: TextSearch, memory: Any, captions: Any, value: Any, **told: Any
        ) -> Any:
            axes = torch.eye(6)
            self.guides.append(
                torch.stack([-value(axes, torch.full((6,), at)) for at in range(len(captions))])
            )
            found = substitute(search, memory, captions, value, **told)
            self.captions.append(found[0])
            return found

        monkeypatch.setattr(GradientAscent, "__call__", ascending)
        monkeypatch.setattr(TextSearch, "__call__", substituting)


@pytest.fixture
def ask(
    model: ToyEncoder, original: ToyEncoder, batch: TrainingBatch, monkeypatch: pytest.MonkeyPatch
) -> Callable[[TrainingMethod], Asked]:
    """Computes the losses of a method, and says what it asked its attacks for."""

    def asked_by(method: TrainingMethod) -> Asked:
        asked = Asked(monkeypatch)
        losses_of(method, model, batch, original)
        return asked

    return asked_by


def to_plain_captions(model: ToyEncoder, batch: TrainingBatch, _: list[str], x: Tensor) -> float:
    return clip_loss(similarity(model, x, batch.captions))


def to_changed_captions(
    model: ToyEncoder, _: TrainingBatch, captions: list[str], x: Tensor
) -> float:
    return clip_loss(similarity(model, x, captions))


def away_from_changed_captions(
    model: ToyEncoder, _: TrainingBatch, captions: list[str], x: Tensor
) -> float:
    rows = similarity(model, x, captions)
    return -math.fsum(row[at] for at, row in enumerate(rows)) / len(rows)


def from_clean_answers(
    model: ToyEncoder, batch: TrainingBatch, captions: list[str], x: Tensor
) -> float:
    return kl(similarity(model, batch.images, batch.captions), similarity(model, x, captions))


RAISED: dict[str, Callable[[ToyEncoder, TrainingBatch, list[str], Tensor], float]] = {
    "tecoa": to_plain_captions,
    "pmg_aft": to_plain_captions,
    "mmcoa": to_plain_captions,
    "mat": to_changed_captions,
    "half_clean": to_changed_captions,
    "image_first": to_plain_captions,
    "independent": to_plain_captions,
    "positive_pair": away_from_changed_captions,
    "trades": from_clean_answers,
}


@pytest.mark.parametrize("name", RAISED)
def test_the_image_attack_raises_the_published_objective(
    name: str, ask: Callable[[TrainingMethod], Asked], model: ToyEncoder, batch: TrainingBatch
) -> None:
    asked = ask(VARIANTS[name])
    (objective,) = asked.objectives
    captions = asked.captions[0] if asked.captions else []
    assert not captions or captions != list(batch.captions)
    anywhere = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(5))
    found = float(objective(anywhere).detach().mean())
    assert found == pytest.approx(RAISED[name](model, batch, captions, anywhere), rel=1e-4)


@pytest.mark.parametrize(
    ("name", "moved"),
    [
        *(("mat", False), ("independent", False), ("mmcoa", False), ("trades", False)),
        ("image_first", True),
    ],
)
def test_captions_are_driven_from_clean_images_unless_images_come_first(
    name: str,
    moved: bool,
    ask: Callable[[TrainingMethod], Asked],
    model: ToyEncoder,
    batch: TrainingBatch,
) -> None:
    asked = ask(VARIANTS[name])
    (guide,) = asked.guides
    (images,) = asked.images if moved else [batch.images]
    torch.testing.assert_close(guide, model.encode_image(images).detach())


def test_the_image_attack_has_the_steps_that_are_configured(
    ask: Callable[[TrainingMethod], Asked],
) -> None:
    asked = ask(TeCoA(eps=0.3, step_size=0.07, steps=4))
    ((search, told),) = asked.ascents
    assert (search.steps, search.step_size, told["budget"].eps) == (4, 0.07, 0.3)
    assert told["start"] is None


@pytest.mark.parametrize("constrained", [True, False])
def test_leaf_asks_for_the_edits_that_are_configured(
    constrained: bool,
    model: ToyEncoder,
    original: ToyEncoder,
    batch: TrainingBatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each text is held against the original's embedding of the caption that it belongs to."""
    model, original = spelt(model), spelt(original)
    asked: dict[str, Any] = {}

    def search(captions: Sequence[str], value: Any, **told: Any) -> list[str]:
        owner = torch.tensor([2, 0, 2])
        asked.update(told, value=value(["a blue star", "ring", "star"], owner).detach())
        return list(captions)

    monkeypatch.setattr(leaf_module, "levenshtein_search", search)
    given = setting(original)
    LEAF(distance=2, rho=7, constrained=constrained).losses(model, batch, given)
    assert (asked["distance"], asked["rho"]) == (2, 7)
    assert asked["known"] == (given.language.known_words() if constrained else None)
    assert asked["generator"] is given.generator

    def embedded(of: ToyEncoder, caption: str) -> list[float]:
        values: list[float] = of.words[[1 + ord(c) % 10 for c in caption]].sum(dim=0).tolist()
        return values

    pairs = (("a blue star", "big ring"), ("ring", "a big red ring"), ("star", "big ring"))
    expected = [squared(embedded(model, a), embedded(original, b)) for a, b in pairs]
    assert asked["value"].tolist() == pytest.approx(expected, rel=1e-5)
