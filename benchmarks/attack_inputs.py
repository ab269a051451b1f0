"""What `attacks.py` measures on: captions, and models of full size with random weights."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from mmrobust.attacks.run import RetrievalBatch
from mmrobust.attacks.text_search.base import Language
from mmrobust.data.lexicon import STOP_WORDS
from mmrobust.models.bert import SPECIAL_TOKENS, BertArchitecture, build_masked_lm
from mmrobust.models.dual_encoder import OpenClipDualEncoder
from mmrobust.models.encoding import token_lengths
from mmrobust.models.masked_lm import BertMaskedLM
from mmrobust.randomness import torch_generator

CAPTIONS = """
a man in a blue helmet rides his mountain bike down a rocky trail
a cyclist speeds over stones on a steep path in the woods
someone on a bicycle races downhill between tall trees
the rider leans forward while his bike jumps across a small ditch
a mountain biker wearing gloves and a backpack descends the hillside
two brown dogs run through shallow water at the edge of a lake
a pair of wet dogs splash along the shore chasing a tennis ball
dogs playing in the water on a sunny afternoon
the larger dog carries a stick while the smaller one barks behind it
two animals with collars leap through waves near the beach
a young woman with curly hair plays the violin on a crowded street corner
a street musician performs for people walking past the shops
the violinist closes her eyes while a small crowd listens
a girl in a green dress holds a violin beside an open case with coins
people stop on the pavement to hear a woman play classical music
three children build a sandcastle near the ocean with plastic shovels
kids in swimming suits dig a deep hole in the wet sand
a little boy fills his red bucket while his sisters watch
children sit together on the beach and shape towers out of sand
a toddler wearing a sun hat pours water over a sandcastle
a chef in a white apron slices vegetables in a busy restaurant kitchen
an older man prepares dinner with a large sharp knife
the cook chops carrots and onions on a wooden board
a kitchen worker stands behind the counter among steaming pots
a bearded man tastes soup from a metal spoon before serving it
a snowboarder in a yellow jacket flies high above the snowy slope
a person performs a trick off a ramp while spectators cheer
someone jumps through the air with a snowboard strapped to his boots
the athlete grabs his board in front of a bright blue sky
a teenager wearing goggles lands on fresh powder after a huge jump
an elderly couple sits on a park bench feeding pigeons with old bread
a grandmother throws crumbs to the birds while her husband reads a newspaper
pigeons gather around two people resting under a large oak tree
a man in a grey coat and a woman with a scarf enjoy the autumn sun
an old lady laughs when a bird lands on her handbag
football players in striped shirts fight for the ball during a rainy match
a goalkeeper dives to the left but misses the ball
the team celebrates a late goal in front of their muddy supporters
two soccer players slide across the wet grass at the same time
a referee blows his whistle and points towards the penalty spot
""".strip().splitlines()
PER_IMAGE = 5

SPLIT_WORDS = ("snowboarder", "goalkeeper", "sandcastle", "violinist", "newspaper", "handbag")
"""Words of two pieces in the made-up vocabulary."""

NOUNS = ("man", "woman", "boy", "girl", "dog", "cat", "horse", "bird", "child", "chef", "rider",
         "player", "dancer", "farmer", "sailor", "tourist", "runner", "singer")  # fmt: skip
PLACES = ("beach", "street", "park", "field", "river", "lake", "mountain", "bridge", "garden",
          "kitchen", "stage", "roof", "train", "boat", "bench", "fence", "hill", "bus")  # fmt: skip
LINKS = ("on the", "near a", "by the", "above a")


def short_captions(count: int) -> list[str]:
    """Distinct captions with two words that may be replaced."""
    every = (
        f"{article} {noun} {link} {place}"
        for noun in NOUNS
        for place in PLACES
        for link in LINKS
        for article in ("a", "the")
    )
    return list(islice(every, count))


@dataclass(frozen=True)
class Inputs:
    """Models and items that both implementations are run on.

    Fields:
        model: the dual encoder.
        bert: the masked language model as transformers has it.
        pieces: its tokenizer.
        language: the same masked language model, and stop words, as attacks know them.
        batch: the items.
    """

    model: OpenClipDualEncoder
    bert: Any
    pieces: Any
    language: Language
    batch: RetrievalBatch


def plain_attacks() -> ModuleType:
    """The plain implementation that the tests hold the attacks against."""
    path = Path(__file__).resolve().parents[1] / "tests" / "attacks" / "oracle.py"
    spec = importlib.util.spec_from_file_location("oracle", path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules["oracle"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_inputs(*, images: int, quick: bool) -> Inputs:
    """ViT-B/32 and bert-base sizes, or tiny ones; nothing is downloaded."""
    import open_clip

    tokenize = open_clip.get_tokenizer("ViT-B-32")
    model = make_dual_encoder(tokenize, quick=quick)
    vocabulary = word_pieces(tokenize, 3_000 if quick else 30_522)
    width, layers, heads = (32, 1, 2) if quick else (768, 12, 12)
    bert, pieces = build_masked_lm(
        BertArchitecture(
            vocab_size=len(vocabulary),
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            max_position_embeddings=512,
        ),
        vocabulary,
        seed=0,
    )
    masked_lm = BertMaskedLM(bert, pieces)
    size = int(model.clip.visual.image_size[0])  # type: ignore[union-attr, index, arg-type]
    pixels = torch.rand((images, 3, size, size), generator=torch_generator(0, "images"))
    captions = CAPTIONS[: PER_IMAGE * images]
    batch = RetrievalBatch(pixels, tuple(captions), torch.arange(len(captions)) // PER_IMAGE)
    return Inputs(model, bert, pieces, Language(stop_words=STOP_WORDS, masked_lm=masked_lm), batch)


def make_dual_encoder(tokenize: Any, *, quick: bool) -> OpenClipDualEncoder:
    """A CLIP with random weights behind its own tokenizer, cut to the longest caption."""
    import open_clip

    def trimmed(captions: Sequence[str]) -> Tensor:
        tokens: Tensor = tokenize(list(captions))
        return tokens[:, : int(token_lengths(tokens).max())]

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if quick:
            vision = {"image_size": 32, "patch_size": 8, "layers": 1, "width": 32, "head_width": 16}
            clip = open_clip.CLIP(32, vision, {"width": 32, "heads": 2, "layers": 1})
        else:
            clip = open_clip.create_model("ViT-B-32", pretrained=None, precision="fp32")
    stats = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    return OpenClipDualEncoder(clip, trimmed, mean=stats[0], std=stats[1]).eval()


def word_pieces(tokenize: Any, size: int) -> dict[str, int]:
    """A WordPiece vocabulary: the captions' words, all letters, then CLIP's own pieces.

    Most words have one piece and those of `SPLIT_WORDS` two; a fifth of the pieces are inner ones,
    as in BERT's own vocabulary.
    """
    words = sorted({word for caption in CAPTIONS for word in caption.split(" ")})
    halves = [part for word in SPLIT_WORDS for part in (word[:5], f"##{word[5:]}")]
    letters = [mark + chr(code) for mark in ("", "##") for code in range(ord("a"), ord("z") + 1)]
    known = [*SPECIAL_TOKENS, *letters, *halves, *(w for w in words if w not in SPLIT_WORDS)]
    whole = [piece[:-4] for piece in tokenize.encoder if re.fullmatch("[a-z]{3,}</w>", piece)]
    inner = [f"##{piece}" for piece in tokenize.encoder if re.fullmatch("[a-z]{2,}", piece)]
    whole = [piece for piece in whole if piece not in SPLIT_WORDS]
    filled = dict.fromkeys([*known, *inner[: size // 5], *whole])
    return {piece: number for number, piece in enumerate(list(filled)[:size])}
