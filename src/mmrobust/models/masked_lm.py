"""A masked language model, in transformers' own format: the guide of attacks on captions.

The pipeline's own small BERT and a downloaded one are the same folder of files to what follows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrobust.artifacts import MAKE, remade
from mmrobust.disk import missing
from mmrobust.models.base import PiecePredictions
from mmrobust.models.bert import INNER, read_masked_lm
from mmrobust.models.encoding import TOKENS_PER_CHUNK, length_chunks

LOGITS_PER_CHUNK = {"cpu": 2**25, "cuda": 2**29}
"""Logits of the whole vocabulary that exist at once, by device: 128 MiB and 2 GiB."""


@remade()
def load_masked_lm(folder: Path, device: torch.device | str = "cpu") -> BertMaskedLM:
    """Read the folder that `train-masked-lm` wrote, in eval mode.

    Raises:
        UserError: a file is missing or broken, or this is no masked language model.
    """
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        if not (folder / name).is_file():
            raise missing(folder / name, MAKE)
    model, tokenizer = read_masked_lm(str(folder), where="masked language model")
    return BertMaskedLM(model.to(device), tokenizer)


class BertMaskedLM:
    """A transformers model with a WordPiece tokenizer, as `MaskedLanguageModel`.

    Pieces never cross a space, so each word is looked up once and kept: an attack asks for
    thousands of captions that differ in one word.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model = model.eval().requires_grad_(False)
        self._tokenizer = tokenizer
        self._pieces: dict[str, list[int]] = {}
        longest = min(model.config.max_position_embeddings, tokenizer.model_max_length)
        self._context = longest - 2  # [CLS] and [SEP]
        self._pad = tokenizer.pad_token_id or 0
        device = self.device.type
        self._tokens_per_chunk = min(
            TOKENS_PER_CHUNK[device], max(1, LOGITS_PER_CHUNK[device] // model.config.vocab_size)
        )

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return cast(torch.device, self._model.device)

    @torch.no_grad()
    def predict(self, captions: Sequence[str], *, k: int) -> list[PiecePredictions]:
        """Predictions, on the CPU, for the captions as they are; equal ones are encoded once.

        A caption that is longer than the context is cut before the first word that doesn't
        wholly fit; `k` is cut to the number of pieces.
        """
        rows = {caption: row for row, caption in enumerate(dict.fromkeys(captions))}
        encoded = [self._encode(caption) for caption in rows]
        found: dict[int, PiecePredictions] = {}
        for chunk, ids, attention in self._chunks([ids for ids, _ in encoded]):
            logits = self._model(input_ids=ids, attention_mask=attention).logits
            scores, pieces = logits[..., : len(self._tokenizer)].topk(
                min(k, len(self._tokenizer)), dim=-1
            )  # (C, T, k)
            scores, pieces = scores.cpu(), pieces.cpu()
            for place, row in enumerate(chunk):
                own, spans = encoded[row]
                found[row] = PiecePredictions(
                    ids=pieces[place, : len(own)], scores=scores[place, : len(own)], spans=spans
                )
        return [found[rows[caption]] for caption in captions]

    @torch.no_grad()
    def perplexity(self, ids: Tensor) -> Tensor:
        """Perplexity (N,) of sequences of pieces (N, L), each taken without [CLS] and [SEP].

        BERT-Attack (Li et al. 2020, arXiv:2004.09984, section 3.2) ranks substitutes of several
        pieces by it: exp of the mean cross-entropy of each piece, none of which is masked.
        """
        if len(ids) == 0:  # transformers can't reshape an empty batch
            return torch.zeros(0)
        values = []
        for chunk in torch.split(ids, max(1, self._tokens_per_chunk // max(1, ids.shape[1]))):
            chunk = chunk.to(self.device)
            logits = self._model(input_ids=chunk).logits  # (n, L, V)
            losses = F.cross_entropy(logits.flatten(0, 1), chunk.flatten(), reduction="none")
            values.append(losses.view(chunk.shape).mean(dim=1).exp().cpu())
        return torch.cat(values)

    def piece(self, number: int) -> str:
        """A piece as text; the inner ones of a word keep their mark `##`."""
        return cast(str, self._tokenizer.convert_ids_to_tokens(int(number)))

    def join(self, numbers: Sequence[int]) -> str:
        """Several pieces as text: inner ones go on what is before them; a first one keeps `##`."""
        return " ".join(self.piece(number) for number in numbers).replace(f" {INNER}", "")

    @torch.no_grad()
    def embed(self, captions: Sequence[str]) -> Tensor:
        """Embed captions as unit vectors (C, H), on the CPU; equal ones are encoded once.

        The mean of the last hidden states of a caption's own pieces, without [CLS] and [SEP];
        zero for a caption without pieces.
        """
        rows = {caption: row for row, caption in enumerate(dict.fromkeys(captions))}
        encoded = [self._encode(caption)[0] for caption in rows]
        embeddings = torch.zeros(len(rows), self._model.config.hidden_size)
        for chunk, ids, attention in self._chunks(encoded):
            hidden = self._model.base_model(input_ids=ids, attention_mask=attention)[0]
            own = attention.clone()
            own[:, 0] = 0
            own[torch.arange(len(ids)), attention.sum(dim=1) - 1] = 0
            total = (hidden * own.unsqueeze(-1)).sum(dim=1)
            embeddings[chunk] = F.normalize(total, dim=-1).cpu()
        return embeddings[[rows[caption] for caption in captions]]

    def _encode(self, caption: str) -> tuple[list[int], tuple[tuple[int, int], ...]]:
        """Ids of a caption within the context, framed, and the span of each of its words."""
        own: list[int] = []
        spans = []
        kept = None
        for word in caption.split(" "):
            start = len(own)
            own += self._pieces.get(word) or self._look_up(word)
            spans.append((start, len(own)))
            if kept is None and len(own) > self._context:
                kept = start
        return self._framed(own[:kept]), tuple(spans)

    def _framed(self, ids: list[int]) -> list[int]:
        return [self._tokenizer.cls_token_id, *ids, self._tokenizer.sep_token_id]

    def _look_up(self, word: str) -> list[int]:
        ids = list(self._tokenizer.encode(word, add_special_tokens=False, verbose=False))
        self._pieces[word] = ids
        return ids

    def _chunks(self, encoded: Sequence[list[int]]) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Rows of about equal length with their padded ids and attention (C, T)."""
        lengths = torch.tensor([len(ids) for ids in encoded])
        for chunk in length_chunks(lengths, self._tokens_per_chunk):
            rows = chunk.tolist()
            ids, attention = padded([encoded[row] for row in rows], pad=self._pad)
            yield rows, ids.to(self.device), attention.to(self.device)


def padded(rows: Sequence[Sequence[int]], *, pad: int) -> tuple[Tensor, Tensor]:
    """Ids and attention (1 on pieces, 0 behind them), int64 (B, T), T the longest row's length."""
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    attention = (torch.arange(longest) < lengths.unsqueeze(1)).long()
    return ids, attention
