from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from tests.attacks.conftest import LEXICON, ToyEncoder

from mmrobust.attacks.noise import ItemNoise
from mmrobust.attacks.objectives import pair_contrastive
from mmrobust.attacks.text_search.base import Language, words_changed
from mmrobust.training.base import TrainingBatch, TrainingMethod
from mmrobust.training.mat import MAT
from mmrobust.training.standard import Standard
from mmrobust.training.tecoa import TeCoA

METHODS = [
    pytest.param(Standard(), id="standard"),
    pytest.param(TeCoA(eps=0.1, step_size=0.05, steps=2), id="tecoa"),
    pytest.param(MAT(eps=0.1, step_size=0.05, steps=2), id="mat"),
]


@pytest.fixture
def model() -> ToyEncoder:
    model = ToyEncoder()
    model.dropout = torch.nn.Identity()  # type: ignore[assignment]
    return model.train()


@pytest.fixture
def batch() -> TrainingBatch:
    images = 0.2 + 0.6 * torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    return TrainingBatch(images, ("a big red ring", "a blue star", "big ring"))


def loss_of(method: TrainingMethod, model: ToyEncoder, batch: TrainingBatch) -> torch.Tensor:
    noise = ItemNoise.of(0, items=range(len(batch.images)))
    losses = method.losses(model, batch, language=Language(synonyms=LEXICON), noise=noise)
    return torch.stack(list(losses.values())).sum()


@torch.no_grad()
def clip_loss(model: ToyEncoder, images: torch.Tensor, captions: Sequence[str]) -> float:
    """CLIP's loss pair by pair, from its definition."""
    image, text = model.encode_image(images), model.encode_text(captions)
    total = 0.0
    for i in range(len(image)):
        rows = torch.exp(10 * image[i] @ text.T)
        columns = torch.exp(10 * image @ text[i])
        total -= float(torch.log(rows[i] / rows.sum()) + torch.log(columns[i] / columns.sum())) / 2
    return total / len(image)


def test_standard_is_the_contrastive_loss(model: ToyEncoder, batch: TrainingBatch) -> None:
    expected = clip_loss(model, batch.images, batch.captions)
    assert float(loss_of(Standard(), model, batch).detach()) == pytest.approx(expected, abs=1e-5)


def test_contrastive_of_one_pair_is_zero() -> None:
    one = torch.tensor([[1.0, 0.0]])
    assert float(pair_contrastive(one, one, torch.tensor(7.0))) == 0.0


@pytest.mark.parametrize("method", METHODS[1:])
def test_adversarial_training_sees_a_higher_loss(
    method: TrainingMethod, model: ToyEncoder, batch: TrainingBatch
) -> None:
    clean = float(loss_of(Standard(), model, batch).detach())
    assert float(loss_of(method, model, batch).detach()) > clean + 0.01


def test_mat_raises_the_loss_beyond_image_training(model: ToyEncoder, batch: TrainingBatch) -> None:
    """Of captions that the text step moves away from their images."""
    tecoa = loss_of(TeCoA(eps=0.1, step_size=0.05, steps=2), model, batch)
    mat = loss_of(MAT(eps=0.1, step_size=0.05, steps=2), model, batch)
    assert float(mat.detach()) > float(tecoa.detach())


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(TeCoA(eps=0.0), id="tecoa"),
        pytest.param(MAT(eps=0.0, words=0), id="mat"),
    ],
)
def test_without_a_budget_it_is_standard_training(
    method: TrainingMethod, model: ToyEncoder, batch: TrainingBatch
) -> None:
    torch.testing.assert_close(loss_of(method, model, batch), loss_of(Standard(), model, batch))


@pytest.mark.parametrize("method", METHODS)
def test_the_attack_leaks_no_gradient_into_the_parameters(
    method: TrainingMethod, model: ToyEncoder, batch: TrainingBatch
) -> None:
    """The parameters' gradient is that of the outer loss at the found inputs, and no more."""
    seen: list[tuple[torch.Tensor, Sequence[str]]] = []
    encode_image, encode_tokens, tokenize = (
        model.encode_image,
        model.encode_tokens,
        model.tokenize,
    )
    loss = loss_of(method, model, batch)
    assert all(parameter.grad is None for parameter in model.parameters())
    got = torch.autograd.grad(loss, list(model.parameters()))

    def watch(images: torch.Tensor) -> torch.Tensor:
        if model.training and torch.is_grad_enabled():
            seen.append((images.detach(), last_captions[-1]))
        return encode_image(images)

    last_captions: list[Sequence[str]] = []

    def note(captions: Sequence[str]) -> torch.Tensor:
        last_captions.append(list(captions))
        return tokenize(captions)

    model.encode_image, model.tokenize = watch, note  # type: ignore[method-assign]
    loss_of(method, model, batch)
    model.encode_image, model.tokenize = encode_image, tokenize  # type: ignore[method-assign]
    model.encode_tokens = encode_tokens  # type: ignore[method-assign]
    ((images, captions),) = seen
    for before, after in zip(batch.captions, captions, strict=True):
        assert words_changed(before, after) <= 1
    image, text = model.encode_image(images), model.encode_text(captions)
    expected = torch.autograd.grad(
        pair_contrastive(image, text, model.scale()).mean(), list(model.parameters())
    )
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other)
