"""Bad input: handled as it should be, or refused in one line that says what is allowed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.attacks.contracts import FEW, LINF, TABLE, TWO_WORDS, Case, Made, carry_out
from tests.attacks.test_contracts import CASES, image_case
from tests.attacks.tiny_world import STOP_WORDS, SYNONYMS, TinyWorld
from torch import Tensor

from mmrobust.attacks.base import Attack, RetrievalBatch
from mmrobust.attacks.bert_attack import BertAttack
from mmrobust.attacks.character_edits import CharacterEdits
from mmrobust.attacks.image_search.base import Found, Objective
from mmrobust.attacks.noise import ItemNoise
from mmrobust.attacks.pgd import PGD
from mmrobust.attacks.sga import SGA
from mmrobust.attacks.square import Square
from mmrobust.attacks.steps import ImageStep
from mmrobust.attacks.text_search.base import Language
from mmrobust.attacks.text_search.constraints import StaysTrue, StopWords
from mmrobust.attacks.text_search.importance import Gradient, Importance, UnknownToken
from mmrobust.attacks.text_search.search import TextSearch
from mmrobust.attacks.word_substitution import WordSubstitution
from mmrobust.config import build
from mmrobust.errors import UserError
from mmrobust.models.dual_encoder import Architecture, ModelConfig, OpenClipDualEncoder, build_model
from mmrobust.models.tokenizer import TokenizerConfig, save_tokenizer, train_tokenizer
from mmrobust.threat import ImageBudget, TextBudget, ThreatModel

TEXT_CASES = [case for case in CASES if case.values[0].threat_model.text is not None]  # type: ignore[union-attr]
IMAGE_CASES = [case for case in CASES if case.values[0].threat_model.image is not None]  # type: ignore[union-attr]
IMPORTANCES = [None, UnknownToken(), Gradient()]


def with_captions(batch: RetrievalBatch, *captions: str) -> RetrievalBatch:
    """The batch with its first captions replaced."""
    return replace(batch, captions=(*captions, *batch.captions[len(captions) :]))


@pytest.mark.parametrize(
    ("caption", "told"),
    [
        ("", "caption 1 of the batch is empty"),
        ("   ", "caption 1 of the batch is empty"),
        ("a  red ring", "caption 1 of the batch, 'a red ring', has blanks other than one space"),
        (" a red ring", "has blanks other than one space between words"),
        ("a red\tring\n", "has blanks other than one space between words"),
    ],
)
@pytest.mark.parametrize("attack", [PGD(), BertAttack()])
def test_captions_that_are_no_words_are_refused(
    attack: Attack, caption: str, told: str, world: TinyWorld
) -> None:
    threat_model = (
        ThreatModel(image=LINF) if isinstance(attack, PGD) else ThreatModel(text=TWO_WORDS)
    )
    batch = world.batch(FEW)
    with pytest.raises(UserError, match=told) as refused:
        carry_out(
            Case(attack=attack, threat_model=threat_model),
            world,
            with_captions(batch, batch.captions[0], caption),
        )
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("pixel", [-1e-3, 1.001, 255.0, math.nan, math.inf])
def test_pixels_out_of_range_are_refused(pixel: float, world: TinyWorld) -> None:
    batch = world.batch(FEW)
    images = batch.images.clone()
    images[2, 1, 3, 4] = pixel
    with pytest.raises(UserError, match=r"pixels outside 0\.\.1 \(or NaN\); allowed: \[0, 1\]"):
        carry_out(TABLE["pgd"][0], world, replace(batch, images=images))


def test_an_image_without_captions_is_refused(world: TinyWorld) -> None:
    batch = world.batch(FEW)
    own = torch.where(batch.caption_image == 4, 5, batch.caption_image)
    with pytest.raises(UserError, match="image 4 of the batch has no caption"):
        carry_out(TABLE["pgd"][0], world, replace(batch, caption_image=own))


@pytest.mark.parametrize("case", TEXT_CASES)
def test_captions_of_stop_words_alone_are_left_as_they_are(case: Case, world: TinyWorld) -> None:
    if isinstance(case.attack, CharacterEdits):
        return  # it has no such constraint, and its candidates are no words
    batch = world.batch(FEW)
    captions = ("a the is", "the", "is is")
    found = carry_out(case, world, with_captions(batch, *captions))
    assert found.captions[:3] == captions
    assert found.words_changed[3:].max() > 0
    nothing_else = with_captions(batch, *(captions[row % 3] for row in range(len(batch.captions))))
    assert carry_out(case, world, nothing_else).captions == nothing_else.captions


@pytest.mark.parametrize("importance", IMPORTANCES, ids=str)
def test_stop_words_with_synonyms_are_kept_by_their_constraint(
    importance: Importance | None, world: TinyWorld
) -> None:
    synonyms = {**SYNONYMS, **{word: ("red", "line") for word in STOP_WORDS}}
    world = replace(world, language=replace(world.language, synonyms=synonyms))
    batch = with_captions(world.batch(FEW), "a the is")
    for constraints, changes in [((), True), ((StopWords(),), False)]:
        search = TextSearch(importance=importance, constraints=constraints)
        case = Case(attack=WordSubstitution(text=search), threat_model=ThreatModel(text=TWO_WORDS))
        assert (carry_out(case, world, batch).captions[0] != "a the is") == changes


@pytest.mark.parametrize("case", TEXT_CASES)
def test_a_budget_beyond_the_length_may_change_every_word(case: Case, world: TinyWorld) -> None:
    text = replace(case.threat_model.text or TWO_WORDS, words=100, characters=None)
    case = replace(case, threat_model=replace(case.threat_model, text=text))
    batch = with_captions(world.batch(FEW), "red ring", "star")
    found = carry_out(case, world, batch)
    lengths = torch.tensor([len(caption.split(" ")) for caption in batch.captions])
    assert [len(caption.split(" ")) for caption in found.captions] == lengths.tolist()
    assert bool((found.words_changed <= lengths).all())
    assert int(found.words_changed.max()) > 2
    if isinstance(case.attack, CharacterEdits):  # every word has candidates
        assert bool((found.words_changed == lengths).any())


@pytest.mark.parametrize("case", IMAGE_CASES)
@pytest.mark.parametrize("colour", [0.0, 1.0, 0.5])
def test_images_of_one_colour_are_attacked_like_others(
    case: Case, colour: float, world: TinyWorld
) -> None:
    items = FEW[:2]
    batch = world.batch(items)
    images = torch.cat([torch.full_like(batch.images[:1], colour), batch.images[1:]])
    found = carry_out(case, world, replace(batch, images=images))
    assert bool(((found.images >= 0) & (found.images <= 1)).all())
    assert case.threat_model.image is not None
    assert 0 < float(found.perturbation[0]) <= case.threat_model.image.eps


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        ({"eps": -0.1}, "eps"),
        ({"eps": 1.5}, r"image\.eps: 1\.5 is above 1, the whole range of a pixel"),
        ({"eps": "300/255"}, r"is above 1, the whole range of a pixel"),
        ({"norm": "l2", "eps": -1}, "eps"),
        ({"eps": math.nan}, "eps"),
    ],
)
def test_a_radius_out_of_range_is_refused_in_configuration(
    budget: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError, match=told) as refused:
        build(ThreatModel, {"image": budget}, where="threat_models.mine")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("norm", "eps"), [("linf", -0.1), ("linf", 1.01), ("l2", -1.0)])
def test_a_radius_out_of_range_is_refused_in_code(norm: Any, eps: float) -> None:
    with pytest.raises(UserError, match=r"image\.eps: .* \(allowed"):
        ImageBudget(norm=norm, eps=eps)


def test_an_l2_radius_may_exceed_1(world: TinyWorld) -> None:
    built = build(ThreatModel, {"image": {"norm": "l2", "eps": "400/255"}}, where="mine")
    assert built.image == ImageBudget(norm="l2", eps=400 / 255)
    found = carry_out(replace(TABLE["pgd"][1], threat_model=built), world, world.batch(FEW))
    assert float(found.perturbation.max()) > 1.5


def test_an_linf_radius_of_1_reaches_any_pixel(world: TinyWorld) -> None:
    case = image_case(lambda objective, images, noise: 1 - images, budget=ImageBudget(eps=1.0))
    batch = world.batch(FEW)
    images = torch.cat([torch.ones_like(batch.images[:1]), batch.images[1:]])
    found = carry_out(case, world, replace(batch, images=images))
    assert torch.equal(found.images, 1 - images)


@pytest.mark.parametrize(
    ("attack", "text", "told"),
    [
        (BertAttack(), TWO_WORDS, "add a section `masked_lm`"),
        (
            WordSubstitution(text=TextSearch(constraints=(StaysTrue(),))),
            TWO_WORDS,
            r"doesn't decide \(allowed: `scenes`\)",
        ),
        (WordSubstitution(), replace(TWO_WORDS, keeps_truth=True), "doesn't decide"),
    ],
)
def test_missing_knowledge_is_told(
    attack: Attack, text: TextBudget, told: str, world: TinyWorld
) -> None:
    world = replace(world, language=Language(synonyms=SYNONYMS))
    with pytest.raises(UserError, match=told) as refused:
        carry_out(Case(attack=attack, threat_model=ThreatModel(text=text)), world, world.batch(FEW))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "attack",
    [PGD(), SGA(), WordSubstitution(text=TextSearch(importance=Gradient()))],
    ids=["image", "joint", "text"],
)
def test_gradients_are_refused_where_only_queries_are_allowed(
    attack: Attack, world: TinyWorld
) -> None:
    perturbs = attack.perturbs()
    threat_model = ThreatModel(
        knowledge="query",
        image=LINF if "image" in perturbs else None,
        text=TWO_WORDS if "text" in perturbs else None,
    )
    with pytest.raises(UserError, match=r"uses gradients, .* \(knowledge: query\)"):
        carry_out(Case(attack=attack, threat_model=threat_model), world, world.batch(FEW))


def test_gradients_are_off_where_only_queries_are_allowed(world: TinyWorld) -> None:
    """A search that says that it takes none finds none."""

    class Lying:
        uses_gradients = False

        def __call__(
            self,
            objective: Objective,
            images: Tensor,
            *,
            start: Tensor | None,
            budget: ImageBudget,
            noise: ItemNoise,
        ) -> Found:
            leaf = images.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(objective(leaf).sum(), leaf)
            return Found(images=images + gradient, previous=images)

    made = Made(steps=(ImageStep(search=Lying(), guide="original"),))
    white = Case(attack=made, threat_model=ThreatModel(image=LINF))
    assert float(carry_out(white, world, world.batch(FEW)).perturbation.min()) > 0
    query = Case(attack=made, threat_model=ThreatModel(knowledge="query", image=LINF))
    with pytest.raises(RuntimeError, match="does not require grad"):
        carry_out(query, world, world.batch(FEW))
    assert torch.is_grad_enabled()


def test_queries_alone_give_what_they_give_with_gradients_allowed(world: TinyWorld) -> None:
    batch, attack = world.batch(FEW), Square(queries=20)
    found = [
        carry_out(
            Case(attack=attack, threat_model=ThreatModel(knowledge=knowledge, image=LINF)),
            world,
            batch,
        )
        for knowledge in ("query", "white_box")
    ]
    assert torch.equal(found[0].images, found[1].images)


def test_a_gallery_of_one_image_is_refused(world: TinyWorld) -> None:
    with pytest.raises(UserError, match="a gallery of at least two images"):
        carry_out(TABLE["apgd"][0], world, world.batch([3], gallery=False))


# On a real model of few weights, whose text tower reads 12 tokens.


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> OpenClipDualEncoder:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    captions = ["a red ring", "a big blue star to the left of a red ring"]
    save_tokenizer(train_tokenizer(captions, TokenizerConfig(vocab_size=80)), path)
    vision = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32}
    text = {"context_length": 12, "width": 16, "heads": 2, "layers": 2}
    config = ModelConfig(architecture=Architecture(embed_dim=16, vision_cfg=vision, text_cfg=text))
    return build_model(config, tokenizer=path, seed=0)


LONG = " ".join(["a big blue star left of a red ring"] * 5)
STRANGE = "ein großes Straßenfest é 🎈 огонь red"
LEXICON = {"red": ("blue",), "star": ("ring", "étoile"), "großes": ("riesiges", "🎈"), "é": ("ß",)}
SEARCHES = [
    *(TextSearch(importance=importance) for importance in IMPORTANCES),
    *(TextSearch(importance=i, method="beam", beam_width=2) for i in IMPORTANCES),
]


@pytest.mark.parametrize("search", SEARCHES, ids=lambda s: f"{s.method}-{s.importance}")
def test_captions_beyond_the_context_or_the_alphabet_are_attacked(
    search: TextSearch, clip: OpenClipDualEncoder
) -> None:
    captions = (LONG, STRANGE, "a red ring")
    assert clip.tokenize([LONG]).shape[1] == 12
    assert clip.word_spans(LONG)[-1][0] > 12
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    batch = RetrievalBatch(images, captions, torch.tensor([0, 1, 1]))
    attacks: list[Attack] = [WordSubstitution(text=search)]
    if search.importance is None:
        attacks.append(CharacterEdits(per_word=6))
    for attack in attacks:
        found = attack(
            clip,
            batch,
            threat_model=ThreatModel(text=TWO_WORDS),
            language=Language(synonyms=LEXICON),
            noise=ItemNoise.of(0, items=range(2)),
        )
        assert int(found.words_changed.max()) <= 2
        assert found.captions[1:] != captions[1:]
        assert [len(c.split(" ")) for c in found.captions] == [45, 7, 3]
        # What the model can't read can't raise anything, so it stays as it is.
        read = [stop <= 11 for _, stop in clip.word_spans(LONG)]
        words = zip(found.captions[0].split(" "), LONG.split(" "), read, strict=True)
        assert all(new == old for new, old, is_read in words if not is_read)
