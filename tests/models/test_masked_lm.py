from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mmrobust.errors import UserError
from mmrobust.models import masked_lm
from mmrobust.models.base import MaskedLanguageModel
from mmrobust.models.bert import (
    BertArchitecture,
    build_masked_lm,
    learn_wordpieces,
    read_masked_lm,
)
from mmrobust.models.masked_lm import BertMaskedLM, load_masked_lm
from mmrobust.models.pretrained import quiet_transformers

LEARNED = ["a red ring and a blue ring", "a blue star", "a red star", "two stars, and a cafe"] * 5
LONG = " ".join(["restarting", "red"] * 12)
CAPTIONS = [
    "a red ring",
    "two restarting stars, and a café — naïve?",
    *(f"{'a ' * shift}{LONG}" for shift in range(4)),
    "star",
    "a  blue star ",
    "a red ring",
    "日本 ring",
]


@pytest.fixture(scope="module")
def parts() -> tuple[Any, Any]:
    """A random BERT whose context takes 14 pieces beside [CLS] and [SEP], and its tokenizer."""
    architecture = BertArchitecture(
        vocab_size=70,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
    )
    model, tokenizer = build_masked_lm(architecture, learn_wordpieces(LEARNED, 70), seed=0)
    with torch.no_grad():  # transformers draws weights so small that logits would be near ties
        for parameter in model.parameters():
            parameter.mul_(4)
    return model, tokenizer


@pytest.fixture(scope="module")
def lm(parts: tuple[Any, Any]) -> BertMaskedLM:
    return BertMaskedLM(*parts)


@pytest.fixture
def folder(parts: tuple[Any, Any], tmp_path: Path) -> Path:
    with quiet_transformers():
        for part in parts:
            part.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.fixture
def shapes(parts: tuple[Any, Any]) -> Any:
    """Shapes of the ids of each forward pass."""
    seen: list[tuple[int, int]] = []

    def note(module: Any, positional: Any, named: dict[str, Any]) -> None:
        ids = positional[0] if positional else named["input_ids"]
        seen.append(tuple(ids.shape))

    handle = parts[0].base_model.register_forward_pre_hook(note, with_kwargs=True)
    yield seen
    handle.remove()


def pieces_of(tokenizer: Any, caption: str) -> list[list[int]]:
    """Ids of each word of a caption, looked up one by one."""
    return [tokenizer(word, add_special_tokens=False)["input_ids"] for word in caption.split(" ")]


def within_context(tokenizer: Any, caption: str) -> list[int]:
    """The framed ids that are left of a caption: words up to the first that doesn't fit."""
    kept: list[int] = []
    for own in pieces_of(tokenizer, caption):
        if len(kept) + len(own) > 14:
            break
        kept += own
    return [tokenizer.cls_token_id, *kept, tokenizer.sep_token_id]


def test_it_is_what_attacks_expect(lm: BertMaskedLM) -> None:
    expected: MaskedLanguageModel = lm
    assert expected.predict([], k=3) == []


@pytest.mark.parametrize("caption", CAPTIONS)
def test_spans_are_those_of_the_words_one_by_one(
    lm: BertMaskedLM, parts: tuple[Any, Any], caption: str
) -> None:
    _, tokenizer = parts
    words = pieces_of(tokenizer, caption)
    [found] = lm.predict([caption], k=2)
    place, expected = 0, []
    for own in words:
        expected.append((place, place + len(own)))
        place += len(own)
    assert list(found.spans) == expected
    whole = tokenizer(caption, add_special_tokens=False)["input_ids"]
    assert [piece for own in words for piece in own] == whole
    kept = len(found.ids) - 2
    assert kept == len(within_context(tokenizer, caption)) - 2
    # A word is there with all its pieces, or it starts behind those that are kept.
    assert all(stop <= kept or start >= kept for start, stop in found.spans)


def test_words_of_several_pieces_are_among_them(lm: BertMaskedLM) -> None:
    [found] = lm.predict([CAPTIONS[1]], k=1)
    assert max(stop - start for start, stop in found.spans) > 2
    [cut] = lm.predict([LONG], k=1)
    assert len(cut.ids) <= 16
    assert cut.spans[-1][0] >= len(cut.ids) - 2


@pytest.mark.parametrize("tokens_per_chunk", [1, 20, 10_000])
def test_predictions_in_mixed_batches_are_those_of_transformers_one_by_one(
    parts: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, tokens_per_chunk: int
) -> None:
    model, tokenizer = parts
    monkeypatch.setitem(masked_lm.TOKENS_PER_CHUNK, "cpu", tokens_per_chunk)
    found = BertMaskedLM(model, tokenizer).predict(CAPTIONS, k=5)
    for caption, predictions in zip(CAPTIONS, found, strict=True):
        ids = torch.tensor([within_context(tokenizer, caption)])
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0]
        scores, order = logits.sort(dim=-1, descending=True)
        torch.testing.assert_close(predictions.scores, scores[:, :5], atol=1e-4, rtol=0)
        assert predictions.ids.dtype == torch.int64
        clear = (scores[:, :5] - scores[:, 1:6]) > 1e-3
        assert clear.float().mean() > 0.9
        assert torch.equal(predictions.ids[:, :1][clear[:, :1]], order[:, :1][clear[:, :1]])
        torch.testing.assert_close(logits.gather(1, predictions.ids), scores[:, :5])


def test_equal_captions_are_encoded_once_and_chunks_are_bounded(
    parts: tuple[Any, Any], shapes: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(masked_lm.TOKENS_PER_CHUNK, "cpu", 20)
    model = BertMaskedLM(*parts)
    model.predict(CAPTIONS * 3, k=2)
    assert sum(rows for rows, _ in shapes) == len(set(CAPTIONS))
    assert all(rows == 1 or rows * length <= 20 for rows, length in shapes)
    assert any(rows > 1 for rows, _ in shapes)
    shapes.clear()
    model.embed(CAPTIONS * 3)
    assert sum(rows for rows, _ in shapes) == len(set(CAPTIONS))


def test_a_large_vocabulary_makes_chunks_smaller(
    parts: tuple[Any, Any], shapes: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(masked_lm.LOGITS_PER_CHUNK, "cpu", 20 * parts[0].config.vocab_size)
    BertMaskedLM(*parts).predict([f"{'a ' * n}ring" for n in range(12)], k=2)
    assert all(rows == 1 or rows * length <= 20 for rows, length in shapes)


def test_k_is_cut_to_the_vocabulary(lm: BertMaskedLM, parts: tuple[Any, Any]) -> None:
    [found] = lm.predict(["a red ring"], k=10_000)
    assert found.ids.shape == (5, len(parts[1]))
    assert found.ids[1].sort().values.tolist() == list(range(len(parts[1])))


def test_perplexity_is_that_of_a_slow_loop(
    lm: BertMaskedLM, parts: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = parts
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(len(tokenizer), (9, 3), generator=generator)
    expected = []
    for row in ids:
        with torch.no_grad():
            predicted = model(input_ids=row[None]).logits[0].double().log_softmax(dim=-1)
        expected.append(torch.exp(-sum(predicted[i, row[i]] for i in range(3)) / 3))
    monkeypatch.setitem(masked_lm.TOKENS_PER_CHUNK, "cpu", 12)
    for each in (lm, BertMaskedLM(model, tokenizer)):
        found = each.perplexity(ids)
        torch.testing.assert_close(found, torch.stack(expected).float(), rtol=1e-4, atol=1e-4)
    assert lm.perplexity(ids[:0]).shape == (0,)


def test_pieces_join_to_words(lm: BertMaskedLM, parts: tuple[Any, Any]) -> None:
    _, tokenizer = parts
    ids = tokenizer("restarting", add_special_tokens=False)["input_ids"]
    pieces = [lm.piece(number) for number in ids]
    assert len(pieces) > 2
    assert not pieces[0].startswith("##")
    assert all(piece.startswith("##") for piece in pieces[1:])
    assert lm.join(ids) == "restarting"
    assert lm.join(ids[1:]) == "##" + "restarting".removeprefix(pieces[0])
    assert lm.join(tokenizer.convert_tokens_to_ids(["red", "ring"])) == "red ring"


def test_an_embedding_is_the_mean_of_a_captions_own_pieces(
    lm: BertMaskedLM, parts: tuple[Any, Any]
) -> None:
    model, tokenizer = parts
    found = lm.embed(CAPTIONS)
    for caption, embedding in zip(CAPTIONS, found, strict=True):
        ids = torch.tensor([within_context(tokenizer, caption)])
        with torch.no_grad():
            hidden = model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0]
        mean = hidden[1:-1].mean(dim=0)
        torch.testing.assert_close(embedding, mean / mean.norm(), atol=1e-5, rtol=1e-4)
    assert torch.equal(found[0], found[CAPTIONS.index("a red ring", 1)])
    assert lm.embed([" ", "ring"]).norm(dim=1).tolist() == pytest.approx([0.0, 1.0])


def test_a_folder_is_read_without_a_network(
    lm: BertMaskedLM,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("a folder was looked up on the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    loaded = load_masked_lm(folder)
    for one, other in zip(loaded.predict(CAPTIONS, k=4), lm.predict(CAPTIONS, k=4), strict=True):
        assert torch.equal(one.ids, other.ids)
        assert torch.equal(one.scores, other.scores)
    assert capfd.readouterr() == ("", "")
    assert loaded.device == torch.device("cpu")


def test_weights_of_half_precision_are_computed_with_in_full(
    folder: Path, parts: tuple[Any, Any]
) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    halves = {name: value.half() for name, value in weights.items()}
    save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "float16"}))
    [found] = load_masked_lm(folder).predict(["a red ring"], k=1)
    assert found.scores.dtype == torch.float32


def lose(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def cut(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:200])


def configured(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def pickled_weights(folder: Path) -> None:
    from safetensors.torch import load_file

    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").write_bytes(b"")


def without_head(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    body = {name: value for name, value in weights.items() if not name.startswith("cls.")}
    save_file(body, folder / "model.safetensors", metadata={"format": "pt"})


def without_mask_token(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    values = json.loads(path.read_text())
    path.write_text(
        json.dumps(values | {"mask_token": None, "tokenizer_class": "PreTrainedTokenizerFast"})
    )


def byte_pairs(folder: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    names = ("unk", "cls", "sep", "pad", "mask")
    tokenizer = Tokenizer(BPE(vocab={"a": 0, "b": 1}, merges=[]))
    special = {f"{name}_token": f"[{name.upper()}]" for name in names}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)


def larger_vocabulary(folder: Path) -> None:
    from transformers import BertTokenizer

    words = learn_wordpieces([*LEARNED, "many more words that the model never saw"], 500)
    BertTokenizer(vocab=words).save_pretrained(folder)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lose("config.json"), r"config\.json: file is missing"),
        (lose("model.safetensors"), r"model\.safetensors: file is missing"),
        (lose("tokenizer.json"), r"tokenizer\.json: file is missing"),
        (cut("config.json"), r"saved: transformers can't load it"),
        (cut("model.safetensors"), r"saved: transformers can't load it"),
        (cut("tokenizer.json"), r"saved: transformers can't load it"),
        (configured(hidden_size=32), r"saved: transformers can't load it"),
        (configured(model_type="vit"), r"saved: transformers can't load it"),
        (pickled_weights, r"saved: transformers can't load it"),
        (without_head, r"saved: no masked language model \(its weights lack cls\."),
        (without_mask_token, r"saved: its tokenizer is not BERT's"),
        (byte_pairs, r"saved: its tokenizer is not BERT's"),
        (larger_vocabulary, r"saved: the tokenizer has \d+ pieces and the model \d+"),
    ],
)
def test_folders_that_are_none_are_told_in_one_line(
    folder: Path, damage: Callable[[Path], None], told: str
) -> None:
    with quiet_transformers():
        damage(folder)
    with pytest.raises(UserError, match=told) as error:
        load_masked_lm(folder)
    assert len(str(error.value).splitlines()) == 1


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none/config\.json: file is missing"):
        load_masked_lm(tmp_path / "none")


@pytest.mark.parametrize("name", ["./none", "/none", "../models/none", "models/berts/none"])
def test_a_name_that_can_only_be_a_folder_is_told_as_one(name: str) -> None:
    with pytest.raises(UserError, match=rf"^masked_lm\.pretrained: {re.escape(name)}: no such "):
        read_masked_lm(name, where="masked_lm.pretrained")


@pytest.mark.parametrize("name", ["none", "none/none"])
def test_a_name_of_the_hub_may_be_a_folder_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    def refuse(*arguments: Any, **named: Any) -> None:
        raise OSError("not found\nlong advice")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", refuse)
    with pytest.raises(UserError, match=r"^masked_lm: 'none.* neither a folder .*\(not found\)$"):
        read_masked_lm(name, where="masked_lm")


def test_equal_captions_give_equal_vocabularies() -> None:
    """The trainer's own order of letters differs from call to call."""
    first, *others = [learn_wordpieces(LEARNED, 70) for _ in range(5)]
    assert all(other == first for other in others)
    assert len(first) <= 70
    assert [piece for piece, _ in sorted(first.items(), key=lambda item: item[1])][:5] == [
        *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    ]
    assert {"ring", "star", "##s"} <= set(first)


def test_initial_weights_follow_the_seed_and_leave_the_global_generator_alone() -> None:
    architecture = BertArchitecture(
        vocab_size=70,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
    )
    vocabulary = learn_wordpieces(LEARNED, 70)
    state = torch.get_rng_state()
    one, same, other = (
        build_masked_lm(architecture, vocabulary, seed=seed)[0].cls.predictions.decoder.weight
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_impossible_architecture_is_told() -> None:
    architecture = BertArchitecture(
        vocab_size=70,
        hidden_size=10,
        num_hidden_layers=1,
        num_attention_heads=3,
        max_position_embeddings=16,
    )
    with pytest.raises(UserError, match=r"masked_lm\.architecture: transformers refuses it"):
        build_masked_lm(architecture, learn_wordpieces(LEARNED, 70), seed=0)
