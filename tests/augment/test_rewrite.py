from __future__ import annotations

import json
import logging
import re
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from tests.augment.conftest import Augment
from tests.augment.tiny_models import SPECIAL, WORDS, gpt2, save, sharpened, t5

from mmrobust.augment import language_model, rewrite
from mmrobust.augment.base import Source, Sources
from mmrobust.augment.chunks import build_augmenter
from mmrobust.augment.language_model import LanguageModel
from mmrobust.augment.prompts import INSTRUCTION, PAIRS, Prompt, first_line
from mmrobust.augment.rewrite import Rewrite
from mmrobust.data.caption_text import MAX_WORDS, normalise_caption
from mmrobust.data.prepared import Lexicon, Split, load_split
from mmrobust.errors import UserError

CAPTIONS = ["a dog", "a red cat runs on blue grass", "two", "a ring of grass on a ring of grass"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        causal = save(root / "causal", sharpened(gpt2(tie_word_embeddings=False)))
        return {"causal": causal, "seq2seq": save(root / "seq2seq", sharpened(t5()))}


def source(captions: Sequence[str]) -> Source:
    n = len(captions)
    split = Split(
        images=np.zeros((n, 1, 1, 3), np.uint8),
        captions=list(captions),
        caption_image=np.arange(n),
        positives=sp.csr_array(sp.eye_array(n, dtype=bool, format="csr")),
    )
    lexicon = Lexicon(synonyms={}, alternatives={}, antonyms={}, stop_words=frozenset())
    return Source(split=split, lexicon=lexicon, dataset={}, data_seed=0, device="cpu")


def rewritten(captions: Sequence[str], seed: int = 0, **fields: Any) -> list[str]:
    rows = np.arange(len(captions))
    augmenter = build_augmenter({"method": "rewrite", **fields})
    made = augmenter.open(source(captions))(Sources(rows, rows, 0), np.random.default_rng(seed))
    return list(made.values)


# Prompts


def test_a_prompt_shows_instruction_pairs_and_caption() -> None:
    prompt = Prompt(instruction="Do it.", pairs=(("a", "b c"), ("d", "e")), caption="a dog")
    assert prompt.text() == "Do it.\n\na => b c\nd => e\na dog =>"
    assert prompt.messages() == [
        {"role": "system", "content": "Do it."},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b c"},
        {"role": "user", "content": "d"},
        {"role": "assistant", "content": "e"},
        {"role": "user", "content": "a dog"},
    ]


def test_pairs_are_drawn_anew_for_every_caption() -> None:
    augmenter, rng = Rewrite(model="m", shots=3), np.random.default_rng(0)
    prompts = [augmenter.prompt("a dog", rng) for _ in range(2000)]
    assert all(prompt.instruction == INSTRUCTION for prompt in prompts)
    assert all(prompt.caption == "a dog" for prompt in prompts)
    assert all(len(set(prompt.pairs)) == 3 for prompt in prompts)
    drawn = Counter(pair for prompt in prompts for pair in prompt.pairs)
    assert drawn == pytest.approx(dict.fromkeys(PAIRS, 2000 * 3 / len(PAIRS)), rel=0.15)


def test_default_pairs_are_in_the_form_of_captions() -> None:
    texts = [text for pair in PAIRS for text in pair]
    assert texts == [normalise_caption(text) for text in texts]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (" a dog runs", "a dog runs"),
        (" A dog runs, fast!\na cat => two cats", "A dog runs, fast!"),
        ("\na cat => two cats", ""),
        ("", ""),
        (' "A dog runs."', "A dog runs."),
        ("\u201ca dog\u201d \n", "a dog"),
        ("1. a dog", "a dog"),
        ("(2) a dog", "a dog"),
        ("- a dog", "a dog"),
        ("\u2022 'a dog'", "a dog"),
        ("2 dogs run", "2 dogs run"),
        ("a dog => a cat", "a dog"),
        ("-", "-"),
    ],
)
def test_the_first_line_is_read(text: str, line: str) -> None:
    assert first_line(text, finished=True) == line
    assert first_line(text + "\n", finished=False) == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (" a dog runs on gra", "a dog runs on"),
        ("A dog runs. It is bro", "A dog runs."),
        ("A dog! It runs. It is", "A dog! It runs."),
        ("A dog runs.", "A dog runs."),
        ("a dog of 1.5 met", "a dog of 1.5"),
        ("wheelbarr", ""),
        ("", ""),
        ("a dog => a ca", "a dog"),
        ("a dog\na ca", "a dog"),
    ],
)
def test_an_answer_that_was_cut_off_ends_at_a_sentence_or_a_word(text: str, line: str) -> None:
    assert first_line(text, finished=False) == line


class Scripted:
    """In place of a model: says what it is told to, and keeps what it was asked."""

    def __init__(self, said: list[tuple[str, bool]]) -> None:
        self.said = said
        self.texts: list[str] = []

    def __call__(self, name: str, *, device: str, max_new_tokens: int) -> Scripted:
        return self

    def sample(self, texts: Sequence[str], **options: Any) -> list[tuple[str, bool]]:
        self.texts += texts
        return self.said


def test_what_is_said_takes_the_form_of_captions(monkeypatch: pytest.MonkeyPatch) -> None:
    long = " ".join(["dog"] * 40)
    said = [(" A Dog \u2014 it runs!\n", True), ('1. "Two cats"', True), (f"{long} ca", False)]
    model = Scripted([*said, ("\n", True)])
    monkeypatch.setattr(rewrite, "LanguageModel", model)
    pairs = [["x y", "z"]]
    found = rewritten(CAPTIONS, model="m", instruction="Do it.", pairs=pairs, shots=1)
    assert found == ["a dog it runs", "two cats", " ".join(["dog"] * MAX_WORDS), ""]
    assert model.texts == [f"Do it.\n\nx y => z\n{caption} =>" for caption in CAPTIONS]


# Models


@pytest.mark.parametrize("kind", ["causal", "seq2seq"])
def test_a_dataset_is_rewritten_end_to_end(
    augment: Augment,
    data: Path,
    folders: dict[str, Path],
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("a folder was looked up on the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    fields = {"shots": 1, "max_new_tokens": 4, "batch_size": 256}
    made = augment("rewrite", n=2, model=str(folders[kind]), **fields).items
    split = load_split(data, "train")
    before = [split.captions[row] for row in made["source_caption"]]
    changed = made["caption"] != before
    assert changed.tolist() == made["changed"].tolist()
    assert changed.mean() > 0.5
    assert set(" ".join(made["caption"][changed]).split()) <= {*WORDS, "pad"}
    assert made["caption"][:300].tolist() != made["caption"][300:].tolist()


@pytest.mark.parametrize("kind", ["causal", "seq2seq"])
def test_draws_come_from_the_generator_alone(folders: dict[str, Path], kind: str) -> None:
    fields = {"model": str(folders[kind]), "max_new_tokens": 8, "shots": 1, "pairs": [PAIRS[0]]}
    state = torch.get_rng_state()
    first = rewritten(CAPTIONS * 4, 1, **fields)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert rewritten(CAPTIONS * 4, 1, **fields) == first
    assert rewritten(CAPTIONS * 4, 2, **fields) != first


@pytest.mark.parametrize("kind", ["causal", "seq2seq"])
def test_what_is_said_of_a_caption_does_not_depend_on_its_batch(
    folders: dict[str, Path], kind: str
) -> None:
    """Shorter prompts are padded; at a temperature near 0 nothing is left to chance."""
    fields = {"model": str(folders[kind]), "temperature": 1e-4, "pairs": [["a dog", "two of"]]}
    fields |= {"shots": 1, "instruction": "red blue", "max_new_tokens": 8}
    together = rewritten(CAPTIONS, **fields, batch_size=4)
    assert rewritten(CAPTIONS, **fields, batch_size=1) == together
    assert [rewritten([caption], **fields)[0] for caption in CAPTIONS] == together
    assert len(set(together)) == len(CAPTIONS)
    assert not all(said.startswith("pad") for said in together)  # what a decoder starts from


def unigram(probabilities: dict[str, float]) -> Any:
    """A model that says each token with a probability that depends on nothing."""
    model = gpt2()
    with torch.no_grad():
        model.transformer.ln_f.weight.zero_()
        model.transformer.ln_f.bias.zero_()
        model.transformer.ln_f.bias[0] = 1
        model.transformer.wte.weight[:, 0] = -100
        for token, probability in probabilities.items():
            place = [*SPECIAL, *WORDS].index(token)
            model.transformer.wte.weight[place, 0] = float(np.log(probability))
    return model


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"temperature": 1.0, "top_p": 1.0}, {"dog": 0.5, "cat": 0.3, "red": 0.15, "two": 0.05}),
        ({"temperature": 1.0, "top_p": 0.79}, {"dog": 5 / 8, "cat": 3 / 8}),
        ({"temperature": 0.5, "top_p": 1.0}, {"dog": 25, "cat": 9, "red": 2.25, "two": 0.25}),
    ],
)
def test_tokens_are_sampled_by_temperature_and_top_p_alone(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, Any],
    expected: dict[str, float],
) -> None:
    """Whatever the model's files or transformers would have for a default, and in silence."""
    model = unigram({"dog": 0.5, "cat": 0.3, "red": 0.15, "two": 0.05})
    model.generation_config.update(do_sample=True, top_k=1, temperature=0.1, top_p=0.1)
    model.generation_config.update(num_beams=4, length_penalty=2.0, max_length=20)
    folder = save(tmp_path / "unigram", model)
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    capfd.readouterr()
    said = rewritten(["a dog"] * 64, model=str(folder), **fields, max_new_tokens=33)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    words = " ".join(said).split()
    assert len(words) == 64 * MAX_WORDS  # cut there, and the last of each answer left out
    total = sum(expected.values())
    shares = {word: count / len(words) for word, count in Counter(words).items()}
    assert shares == pytest.approx({key: p / total for key, p in expected.items()}, abs=0.03)


@pytest.mark.parametrize("end", ["\n", "</s>"])
def test_an_answer_ends_with_its_line_or_text(
    tmp_path: Path, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save(tmp_path / "unigram", unigram({"dog": 0.7, end: 0.3}))
    lengths: list[int] = []
    model = LanguageModel(str(folder), device="cpu", max_new_tokens=200)
    generate = model._model.generate

    def counting(**options: Any) -> Any:
        tokens = generate(**options)
        lengths.append(tokens.shape[1] - options["input_ids"].shape[1])
        return tokens

    monkeypatch.setattr(model._model, "generate", counting)
    options = {"temperature": 1.0, "top_p": 1.0}
    said = model.sample(["a dog =>"] * 400, seed=0, batch_size=400, options=options)
    assert lengths[0] < 60  # nobody goes on to the last token that is allowed
    assert all(finished for _, finished in said)
    words = [text.split() for text, _ in said]
    assert np.mean([len(each) for each in words]) == pytest.approx(7 / 3, rel=0.15)
    short = LanguageModel(str(folder), device="cpu", max_new_tokens=1)
    said = short.sample(["a dog =>"] * 400, seed=0, batch_size=400, options=options)
    assert {(text.strip(), finished) for text, finished in said} == {("dog", False), ("", True)}


def test_a_prompt_that_is_too_long_loses_its_front(tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        folder = save(
            tmp_path / "short", sharpened(gpt2(n_positions=16, tie_word_embeddings=False))
        )
    fields = {"model": str(folder), "temperature": 1e-4, "max_new_tokens": 6, "shots": 1}
    fields["pairs"] = [["a", "two"]]
    long = " ".join(["dog"] * 30)
    one, other = (
        rewritten(["a red cat", "two blue"], **fields, instruction=f"{word} {long}")
        for word in ("red", "blue")
    )
    assert one == other
    assert one[0] != one[1]


def test_weights_of_half_precision_are_computed_with_in_full(tmp_path: Path) -> None:
    folder = save(tmp_path / "half", gpt2().half())
    assert json.loads((folder / "config.json").read_text())["dtype"] == "float16"
    model, _ = language_model._read(str(folder), "cpu")
    assert model.dtype == torch.float32
    assert not model.training


# Bad input


def configured(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def masked(folder: Path) -> None:
    from transformers import BertConfig, BertForMaskedLM

    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    save(folder, BertForMaskedLM(BertConfig(vocab_size=16, intermediate_size=8, **size)))


def without_a_layer(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["transformer.ln_f.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def pickled(folder: Path) -> None:
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda folder: (folder / "config.json").unlink(), "transformers can't load it"),
        (lambda folder: (folder / "config.json").write_text("{"), "transformers can't load it"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "transformers can't load it"),
        (pickled, "transformers can't load it"),
        (without_a_layer, r"its weights lack transformer\.ln_f\.weight"),
        (configured(model_type="vit"), "a model of type 'vit' that generates no text; allowed"),
        (masked, "a model of type 'bert' that generates no text; allowed"),
        (lambda folder: save(folder, gpt2(vocab_size=9)), "its tokenizer has more tokens"),
        (lambda folder: save(folder, gpt2(), bos_token="a"), "its tokenizer has neither a padding"),
    ],
)
def test_models_that_do_not_fit_are_told_in_one_line(
    tmp_path: Path, damage: Callable[[Path], object], told: str
) -> None:
    folder = save(tmp_path / "broken", gpt2())
    damage(folder)
    place = re.escape(f"augmentations: rewrite: model: {folder}: ")
    with pytest.raises(UserError, match=f"^{place}{told}") as error:
        rewritten(CAPTIONS, model=str(folder))
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["./none", "/none", "../none"])
def test_a_missing_folder_is_told(name: str) -> None:
    with pytest.raises(UserError, match=rf"rewrite: model: {re.escape(name)}: no such folder$"):
        rewritten(CAPTIONS, model=name)


def test_too_many_new_tokens_are_told(tmp_path: Path) -> None:
    folder = save(tmp_path / "short", gpt2(n_positions=16))
    with pytest.raises(UserError, match=r"max_new_tokens: 16 leaves no room .* 16 tokens in all"):
        rewritten(CAPTIONS, model=str(folder), max_new_tokens=16)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "give either `model` or `endpoint`"),
        (
            {"model": "m", "endpoint": {"url": "http://localhost", "model": "m"}},
            "give either `model` or `endpoint`",
        ),
        ({"model": "m", "shots": 13}, "shots: 13 is above the number of pairs, 12"),
        ({"model": "m", "top_p": 0}, r"top_p: .*greater than 0 \(got 0\)"),
        ({"model": "m", "top_p": 1.1}, r"top_p: .*less than or equal to 1 \(got 1\.1\)"),
        ({"model": "m", "temperature": 0}, r"temperature: .*greater than 0 \(got 0\)"),
        ({"model": "m", "pairs": [["a"]]}, r"pairs\.0\.1"),
        ({"endpoint": {"url": "localhost", "model": "m"}}, r"endpoint\.url: .*\^https\?://"),
    ],
)
def test_impossible_settings_are_told(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        build_augmenter({"method": "rewrite", **fields})
