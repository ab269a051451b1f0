"""Building and reading the BERTs behind `BertMaskedLM`, with transformers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import ConfigDict, Field

from mmrobust.errors import UserError
from mmrobust.models.pretrained import PretrainedReader, quiet_transformers
from mmrobust.quantities import PositiveInt
from mmrobust.randomness import derived_seed

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
INNER = "##"
"""Mark of a piece that goes on a word."""


@dataclass(frozen=True, kw_only=True)
class BertArchitecture:
    """A BERT trained from scratch, in the keys of transformers' `BertConfig`.

    Fields:
        vocab_size: word pieces at most, the special tokens among them; no letter is left out.
        intermediate_size: width of the feed-forward layers; four times `hidden_size` by default.
        max_position_embeddings: pieces of a caption at most, [CLS] and [SEP] among them.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    vocab_size: PositiveInt
    hidden_size: PositiveInt
    num_hidden_layers: PositiveInt
    num_attention_heads: PositiveInt
    intermediate_size: PositiveInt | None = None
    max_position_embeddings: Annotated[int, Field(ge=3)]


@dataclass(frozen=True, kw_only=True)
class PretrainedBert:
    """A model that transformers finds by `name`: a local folder, or one on its hub."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str


def learn_wordpieces(captions: Iterable[str], vocab_size: int) -> dict[str, int]:
    """Learn a lower-case WordPiece vocabulary: piece -> id, the special tokens first.

    Equal captions in equal order give equal vocabularies. Pieces are joined by frequency, as
    byte-pair merges are. Deviations: Wu et al. 2016 (arXiv:1609.08144, section 4.1) join those
    that raise the likelihood of a language model most; BERT's own learner was not released.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.trainers import WordPieceTrainer

    tokenizer = Tokenizer(WordPiece(unk_token=SPECIAL_TOKENS[1]))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    texts = [tokenizer.normalizer.normalize_str(caption) for caption in captions]
    words = [word for text in texts for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]
    # The trainer numbers inner letters in the order of a hash table that differs between runs,
    # and breaks ties between merges by number: they are given their numbers beforehand.
    inner = sorted({INNER + letter for word in words for letter in word[1:]})
    trainer = WordPieceTrainer(
        vocab_size=vocab_size, special_tokens=[*SPECIAL_TOKENS, *inner], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    return vocabulary


def build_masked_lm(
    architecture: BertArchitecture, vocabulary: dict[str, int], *, seed: int
) -> tuple[Any, Any]:
    """A `BertForMaskedLM` with weights drawn from `seed`, and its `BertTokenizer`.

    Deviations: without the dropout of BERT (0.1), since a small model on few captions underfits.

    Raises:
        UserError: an architecture that transformers refuses.
    """
    from transformers import BertConfig, BertForMaskedLM, BertTokenizer

    context = architecture.max_position_embeddings
    tokenizer = BertTokenizer(vocab=vocabulary, do_lower_case=True, model_max_length=context)
    # transformers draws weights from the global generator: seed it in a scope of its own.
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.manual_seed(derived_seed(seed, "masked language model", "initial weights"))
        try:
            config = BertConfig(
                vocab_size=len(vocabulary),
                hidden_size=architecture.hidden_size,
                num_hidden_layers=architecture.num_hidden_layers,
                num_attention_heads=architecture.num_attention_heads,
                intermediate_size=architecture.intermediate_size or 4 * architecture.hidden_size,
                max_position_embeddings=context,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
            )
            model = BertForMaskedLM(config)
        except ValueError as error:
            raise UserError(f"masked_lm.architecture: transformers refuses it ({error})") from None
    return model, tokenizer


def read_masked_lm(name: str, *, where: str) -> tuple[Any, Any]:
    """Read a masked language model and its tokenizer; nothing is fetched for a local folder.

    Args:
        name: a folder, or a name that transformers looks up on its hub.
        where: what an error starts with.

    Raises:
        UserError: it can't be read, is no masked language model, or has no word pieces.
    """
    from tokenizers.models import WordPiece
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    pretrained = PretrainedReader(
        name=name, where=where, lacks="no masked language model (its weights lack {})"
    )

    def load(options: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        tokenizer = AutoTokenizer.from_pretrained(name, **options)
        model, found = AutoModelForMaskedLM.from_pretrained(
            name, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **options
        )
        return model, tokenizer, found

    model, tokenizer = pretrained.read(load)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    frame = (tokenizer.mask_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id)
    if backend is None or not isinstance(backend.model, WordPiece) or None in frame:
        raise pretrained.error(
            "its tokenizer is not BERT's; allowed are models with word pieces and the tokens "
            "[CLS], [SEP] and [MASK]"
        )
    if not len(tokenizer.all_special_ids) < len(tokenizer) <= model.config.vocab_size:
        raise pretrained.error(
            f"the tokenizer has {len(tokenizer)} pieces and the model {model.config.vocab_size}"
        )
    return model, tokenizer
