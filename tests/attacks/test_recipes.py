from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from tests.attacks.conftest import ToyEncoder, substitutes

from mmrobust.attacks.base import (
    Adversarial,
    Attack,
    ImageStep,
    RetrievalBatch,
    Step,
    TextStep,
)
from mmrobust.attacks.image_search import SignGradientAscent
from mmrobust.attacks.pgd import PGD
from mmrobust.attacks.sga import SGA
from mmrobust.attacks.text_search import GreedyWordSubstitution
from mmrobust.attacks.word_substitution import WordSubstitution
from mmrobust.errors import UserError
from mmrobust.threat import ImageBudget, TextBudget, ThreatModel

IMAGE = ThreatModel(image=ImageBudget(eps=0.1))
TEXT = ThreatModel(text=TextBudget(words=1))
BOTH = ThreatModel(image=ImageBudget(eps=0.1), text=TextBudget(words=1))
ALL = [
    pytest.param(PGD(step_size=0.02), IMAGE, id="pgd"),
    pytest.param(WordSubstitution(), TEXT, id="word_substitution"),
    pytest.param(SGA(step_size=0.02), BOTH, id="sga"),
]


def run(
    attack: Attack,
    threat_model: ThreatModel,
    model: ToyEncoder,
    batch: RetrievalBatch,
    seed: int = 0,
) -> Adversarial:
    return attack(
        model,
        batch,
        threat_model=threat_model,
        substitutes=substitutes,
        generator=torch.Generator().manual_seed(seed),
    )


@torch.no_grad()
def similarity(model: ToyEncoder, batch: RetrievalBatch, found: Adversarial | None) -> torch.Tensor:
    """Of each caption with its own image."""
    images, captions = (found.images, found.captions) if found else (batch.images, batch.captions)
    model.eval()
    return (model.encode_image(images)[batch.caption_image] * model.encode_text(captions)).sum(1)


@pytest.mark.parametrize(("attack", "threat_model"), ALL)
def test_moves_pairs_apart_within_its_budget(
    attack: Attack, threat_model: ThreatModel, model: ToyEncoder, batch: RetrievalBatch
) -> None:
    found = run(attack, threat_model, model, batch)
    assert found.images.min() >= 0
    assert found.images.max() <= 1
    eps = threat_model.image.eps if threat_model.image else 0.0
    words = threat_model.text.words if threat_model.text else 0
    assert float(found.perturbation.max()) <= eps + 1e-7
    assert int(found.words_changed.max()) <= words
    before, after = similarity(model, batch, None), similarity(model, batch, found)
    assert float(after.mean()) < float(before.mean()) - 0.01


@pytest.mark.parametrize(("attack", "threat_model"), ALL)
def test_leaves_the_model_as_it_was(
    attack: Attack, threat_model: ThreatModel, model: ToyEncoder, batch: RetrievalBatch
) -> None:
    parameters = {name: value.clone() for name, value in model.state_dict().items()}
    model.dropout.eval()  # a mode of its own, to be restored too
    run(attack, threat_model, model, batch)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in parameters.items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training
    assert not model.dropout.training


@pytest.mark.parametrize(("attack", "threat_model"), ALL)
def test_the_same_generator_gives_the_same_output(
    attack: Attack, threat_model: ThreatModel, model: ToyEncoder, batch: RetrievalBatch
) -> None:
    one, other = (run(attack, threat_model, model, batch, seed=3) for _ in range(2))
    assert torch.equal(one.images, other.images)
    assert one.captions == other.captions


@pytest.mark.parametrize(
    ("attack", "threat_model"),
    [
        pytest.param(PGD(), ThreatModel(image=ImageBudget(eps=0)), id="pgd"),
        pytest.param(WordSubstitution(), ThreatModel(text=TextBudget(words=0)), id="words"),
        pytest.param(
            SGA(), ThreatModel(image=ImageBudget(eps=0), text=TextBudget(words=0)), id="sga"
        ),
    ],
)
def test_an_empty_budget_is_the_identity(
    attack: Attack, threat_model: ThreatModel, model: ToyEncoder, batch: RetrievalBatch
) -> None:
    found = run(attack, threat_model, model, batch)
    assert torch.equal(found.images, batch.images)
    assert found.captions == batch.captions


@pytest.mark.parametrize(
    ("attack", "threat_model", "told"),
    [
        (PGD(), TEXT, "perturbs the image but its threat model has none"),
        (PGD(), BOTH, "doesn't perturb the text but its threat model has one"),
        (SGA(), IMAGE, "perturbs the text but its threat model has none"),
    ],
)
def test_a_budget_that_does_not_fit_is_refused(
    attack: Attack, threat_model: ThreatModel, told: str, model: ToyEncoder, batch: RetrievalBatch
) -> None:
    with pytest.raises(UserError, match=told):
        run(attack, threat_model, model, batch)


class Escaping(SignGradientAscent):
    """An image search that ignores its budget."""

    def __call__(self, objective, images, *, budget, generator):  # type: ignore[no-untyped-def]
        return images + 5.0


class Rewriting(GreedyWordSubstitution):
    """A text search that replaces every word."""

    def __call__(self, model, captions, guide, *, budget, substitutes):  # type: ignore[no-untyped-def]
        return ["star " * caption.count(" ") + "star" for caption in captions], guide


@dataclass(frozen=True, kw_only=True)
class Cheating(Attack):
    step: Step

    def recipe(self) -> tuple[Step, ...]:
        return (self.step,)


def test_the_wrapper_brings_escaped_images_back(model: ToyEncoder, batch: RetrievalBatch) -> None:
    found = run(Cheating(step=ImageStep(search=Escaping(), guide="original")), IMAGE, model, batch)
    expected = (batch.images + 0.1).clamp(max=1)
    torch.testing.assert_close(found.images, expected)


def test_the_wrapper_refuses_captions_beyond_their_budget(
    model: ToyEncoder, batch: RetrievalBatch
) -> None:
    with pytest.raises(AssertionError, match=r"changed \d words of 1"):
        run(Cheating(step=TextStep(search=Rewriting(), guide="original")), TEXT, model, batch)


def sga_step_by_step(model: ToyEncoder, batch: RetrievalBatch, attack: SGA) -> Adversarial:
    """SGA as the paper tells it, caption by caption: text, image, text from the original."""
    model.eval()
    generator = torch.Generator().manual_seed(0)

    def worst(caption: str, image: torch.Tensor) -> str:
        words = caption.split(" ")
        options = [caption] + [
            " ".join([*words[:i], other, *words[i + 1 :]])
            for i, word in enumerate(words)
            for other in substitutes(word)
        ]
        scores = [(model.encode_text([option])[0] @ image).item() for option in options]
        return options[scores.index(min(scores))]

    own = batch.caption_image.tolist()
    clean = model.encode_image(batch.images)
    first = [worst(caption, clean[i]) for caption, i in zip(batch.captions, own, strict=True)]
    text = model.encode_text(first)
    images = batch.images + 0.1 * (2 * torch.rand(batch.images.shape, generator=generator) - 1)
    images = images.clamp(min=batch.images - 0.1, max=batch.images + 0.1).clamp(0, 1)
    resize = torch.nn.functional.interpolate
    for _ in range(attack.steps):
        x = images.detach().requires_grad_()
        loss = -(model.encode_image(x)[own] * text).sum()
        gradient = torch.autograd.grad(loss, x)[0]
        for scale in attack.scales:
            noise = attack.noise_std * torch.randn(x.shape, generator=generator)
            copy = resize(x + noise, size=[max(1, int(4 * scale))] * 2, mode="bicubic").clamp(0, 1)
            copy = resize(copy, size=[4, 4], mode="bicubic")
            loss = -(model.encode_image(copy)[own] * text).sum()
            gradient = gradient + torch.autograd.grad(loss, x)[0]
        images = images + attack.step_size * gradient.sign()
        images = images.clamp(min=batch.images - 0.1, max=batch.images + 0.1).clamp(0, 1)
    adversarial = model.encode_image(images)
    captions = [worst(c, adversarial[i]) for c, i in zip(batch.captions, own, strict=True)]
    return Adversarial(images, tuple(captions), torch.zeros(3), torch.zeros(5))


def test_sga_agrees_with_a_plain_reading_of_the_paper(
    model: ToyEncoder, batch: RetrievalBatch
) -> None:
    attack = SGA(step_size=0.02)
    found, expected = run(attack, BOTH, model, batch), sga_step_by_step(model, batch, attack)
    assert found.captions == expected.captions
    torch.testing.assert_close(found.images, expected.images, atol=1e-5, rtol=0)


def test_fields_are_checked(model: ToyEncoder) -> None:
    from mmrobust.config import build

    check: Callable[..., Attack] = lambda **fields: build(SGA, fields, where="attacks.sga")  # noqa: E731
    assert check(step_size="1/255").step_size == 1 / 255  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"attacks\.sga\.steps: .* \(got 0\)"):
        check(steps=0)
    with pytest.raises(UserError, match="did you mean 'step_size'"):
        check(stepsize=1)
