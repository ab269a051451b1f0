"""The CLIP-like dual encoder: open_clip's towers behind our pixel and caption contract."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from pydantic import ConfigDict
from torch import Tensor, nn

from mmrobust.artifacts import REMAKE, read_json, replacing, write_json
from mmrobust.errors import UserError
from mmrobust.models.encoding import token_lengths
from mmrobust.models.tokenizer import END_ID, PAD_ID, BytePairTokenizer
from mmrobust.quantities import PositiveInt
from mmrobust.randomness import derived_seed

SMALL_MODEL_MEAN = (0.5, 0.5, 0.5)
SMALL_MODEL_STD = (0.25, 0.25, 0.25)
MAX_LOGIT_SCALE = math.log(100)
"""CLIP (Radford et al. 2021, section 2.5) clips the learned scale at 100."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Towers of a model trained from scratch, in open_clip's own keys.

    `vision_cfg` and `text_cfg` are handed to open_clip's `CLIPVisionCfg` and `CLIPTextCfg`;
    vocabulary and pooling follow from the tokenizer and are not given.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    embed_dim: PositiveInt
    vision_cfg: dict[str, Any]
    text_cfg: dict[str, Any]

    def __post_init__(self) -> None:
        for key in ("vocab_size", "pool_type", "eos_id", "pad_id", "no_causal_mask"):
            if key in self.text_cfg:
                raise UserError(
                    f"model.architecture.text_cfg.{key}: not to be given; vocabulary, pooling and "
                    "the causal mask follow from the pipeline's own tokenizer"
                )


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A model that open_clip knows by `name`, with `weights` a tag it knows or a local file."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    weights: str


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Either an `architecture` trained from scratch or a `pretrained` open_clip model."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    architecture: Architecture | None = None
    pretrained: Pretrained | None = None

    def __post_init__(self) -> None:
        if (self.architecture is None) == (self.pretrained is None):
            raise UserError("model: give either `architecture` or `pretrained`, and not both")


class OpenClipDualEncoder(nn.Module):
    """An open_clip CLIP model that takes pixels in [0, 1] and raw captions.

    Captions are padded to the longest of a batch and not to the context length: under a causal
    mask the tokens behind the end token can't change its embedding, so the result is the same
    and short captions cost what they are long.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        clip: nn.Module,
        tokenizer: Callable[[Sequence[str]], Tensor],
        *,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        # Convolutions are a third faster with channels last; a transformer doesn't care.
        self.clip = clip.to(memory_format=torch.channels_last)
        self._tokenizer = tokenizer
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return self.mean.device

    def scale(self) -> Tensor:
        """Factor (), > 0, on cosine similarities before the softmax."""
        return cast(Tensor, self.clip.logit_scale).exp()

    def train_towers(
        self, towers: Literal["both", "image", "text"], *, batch_statistics: bool = True
    ) -> None:
        """Put some towers in train mode and the rest in eval mode, and let only theirs train.

        The scale trains only with both. A frozen tower in train mode would still move the running
        statistics of its batch normalisation.

        Args:
            towers: which ones.
            batch_statistics: whether batch normalisation reads the batch and moves its running
                statistics, or stays at those that it has.
        """
        self.train(towers != "image")
        cast(nn.Module, self.clip.visual).train(towers != "text")
        if not batch_statistics:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        image = {id(parameter) for parameter in cast(nn.Module, self.clip.visual).parameters()}
        for parameter in self.clip.parameters():
            is_scale = parameter is self.clip.logit_scale
            tower = "scale" if is_scale else "image" if id(parameter) in image else "text"
            parameter.requires_grad_(towers in ("both", tower))

    @torch.no_grad()
    def clip_scale(self) -> None:
        """Bring the learned scale back to at most 100, as CLIP does after each step."""
        cast(Tensor, self.clip.logit_scale).clamp_(max=MAX_LOGIT_SCALE)

    def encode_image(self, images: Tensor) -> Tensor:
        """Embed images (B, 3, H, W) in [0, 1], of any size, as unit vectors (B, D)."""
        return F.normalize(self.project_image(images), dim=-1)

    def project_image(self, images: Tensor) -> Tensor:
        """Embed images (B, 3, H, W) in [0, 1] as vectors (B, D) of any norm.

        An image of another size than the tower's is resized, with gradients: one that was
        attacked on a model of one input size can be shown to a model of another.
        """
        visual: Any = self.clip.visual
        size = _side_lengths(visual.image_size)
        if tuple(images.shape[-2:]) != size:
            images = F.interpolate(images, size=size, mode="bicubic", antialias=True).clamp(0, 1)
        return cast(Tensor, visual((images - self.mean) / self.std))

    def tokenize(self, captions: Sequence[str]) -> Tensor:
        """Token ids (B, T), int64, on the CPU; T is the longest caption's length, rest padded."""
        return self._tokenizer(captions)

    def embed_tokens(self, tokens: Tensor) -> Tensor:
        """What the text tower reads for token ids (B, T): (B, T, W), before positions."""
        embedding = cast(nn.Embedding, self.clip.token_embedding)
        return cast(Tensor, embedding(tokens.to(self.device)))

    def word_spans(self, caption: str) -> list[tuple[int, int]]:
        """Rows [start, stop) of `tokenize([caption])` that each word of a caption takes.

        Pieces never cross a space, so a word has as many as when it stands alone between the
        start and the end token.
        """
        pieces = [int(token_lengths(self.tokenize([word]))) - 2 for word in caption.split(" ")]
        stops = [1 + stop for stop in accumulate(pieces)]
        return [(stop - n, stop) for n, stop in zip(pieces, stops, strict=True)]

    def encode_tokens(self, tokens: Tensor, embedded: Tensor | None = None) -> Tensor:
        """Embed token ids (B, T), T up to the context length, as unit vectors (B, D)."""
        return F.normalize(self.project_tokens(tokens, embedded), dim=-1)

    def project_tokens(self, tokens: Tensor, embedded: Tensor | None = None) -> Tensor:
        """Embed token ids (B, T) as vectors (B, D) of any norm.

        The towers' own parts are called, since open_clip's `encode_text` insists on T being the
        context length.
        """
        clip: Any = self.clip
        tokens = tokens.to(self.device)
        length = tokens.shape[1]
        embedded = self.embed_tokens(tokens) if embedded is None else embedded
        x = embedded + clip.positional_embedding[:length]  # (B, T, W)
        x = clip.transformer(x, attn_mask=clip.attn_mask[:length, :length])
        if clip.text_pool_type == "eos":
            last = (tokens == clip.text_eos_id).int().argmax(dim=1)
        else:  # "argmax": CLIP's end token has the highest id
            last = tokens.argmax(dim=1)
        pooled = clip.ln_final(x[torch.arange(len(tokens), device=x.device), last])  # (B, W)
        return cast(Tensor, pooled @ clip.text_projection)

    def encode_text(self, captions: Sequence[str]) -> Tensor:
        """Embed captions as unit vectors (B, D)."""
        return self.encode_tokens(self.tokenize(captions))


def _side_lengths(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _context_length(architecture: Architecture) -> int:
    return int(architecture.text_cfg.get("context_length", 77))


def build_model(config: ModelConfig, *, tokenizer: Path | None, seed: int) -> OpenClipDualEncoder:
    """Build the model of a configuration: initial weights drawn from `seed`, or pretrained ones.

    Args:
        config: what to build.
        tokenizer: file of the byte-pair tokenizer; needed for an `architecture`.
        seed: of the initial weights of an `architecture`.

    Raises:
        UserError: keys that open_clip refuses, unknown weights, or a missing tokenizer.
    """
    if config.pretrained is not None:
        return _build_pretrained(config.pretrained.name, config.pretrained.weights)
    assert config.architecture is not None
    if tokenizer is None:
        raise UserError("model.architecture: a model trained from scratch needs a tokenizer file")
    return _build_from_scratch(config.architecture, tokenizer, seed)


def _build_from_scratch(
    architecture: Architecture, tokenizer_file: Path, seed: int
) -> OpenClipDualEncoder:
    from open_clip.model import CLIP

    tokenizer = BytePairTokenizer(tokenizer_file, _context_length(architecture))
    text_cfg = {
        **architecture.text_cfg,
        "vocab_size": tokenizer.vocab_size,
        "pool_type": "eos",
        "eos_id": END_ID,
        "pad_id": PAD_ID,
    }
    # open_clip draws its weights from the global generator: seed it in a scope of its own.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "initial weights"))
        try:
            clip = CLIP(architecture.embed_dim, architecture.vision_cfg, text_cfg)
        except (TypeError, ValueError, AssertionError) as error:
            raise UserError(f"model.architecture: open_clip refuses it ({error})") from None
    return OpenClipDualEncoder(clip, tokenizer, mean=SMALL_MODEL_MEAN, std=SMALL_MODEL_STD)


def _build_pretrained(name: str, weights: str | None) -> OpenClipDualEncoder:
    """The named open_clip model; `weights` None leaves its weights to be loaded by the caller."""
    import open_clip

    if weights is not None:
        _refuse_other_activation(name, weights)
    try:
        clip = open_clip.create_model(name, pretrained=weights, precision="fp32")
    except (RuntimeError, ValueError, OSError) as error:
        raise UserError(f"model.pretrained: open_clip can't load it ({error})") from None
    if not hasattr(clip, "token_embedding") or getattr(clip, "attn_mask", None) is None:
        raise UserError(
            f"model.pretrained.name: {name!r} has no causal CLIP text tower; "
            "allowed are open_clip's CLIP models such as 'ViT-B-16-quickgelu'"
        )
    tokenize = open_clip.get_tokenizer(name)

    def trimmed(captions: Sequence[str]) -> Tensor:
        tokens = cast(Tensor, tokenize(list(captions)))
        return tokens[:, : int(token_lengths(tokens).max())]

    preprocessing = open_clip.get_model_preprocess_cfg(clip)
    return OpenClipDualEncoder(clip, trimmed, mean=preprocessing["mean"], std=preprocessing["std"])


def _refuse_other_activation(name: str, weights: str) -> None:
    """Raise `UserError` if weights were trained with QuickGELU and the named model has another.

    open_clip only warns of it, and the embeddings are off.
    """
    from open_clip import get_model_config, get_pretrained_cfg

    name = name.replace("/", "-")  # open_clip takes both
    if not get_pretrained_cfg(name, weights).get("quick_gelu", False):
        return  # a local file says nothing of its activation
    if not (get_model_config(name) or {}).get("quick_gelu", False):
        raise UserError(
            f"model.pretrained.name: weights {weights!r} were trained with QuickGELU, which "
            f"{name!r} has not; wanted: {name + '-quickgelu'!r}"
        )


def save_model(
    folder: Path, model: OpenClipDualEncoder, config: ModelConfig, *, tokenizer: Path | None
) -> None:
    """Write `model.safetensors`, `model.json` and the tokenizer: all that `load_model` needs."""
    from safetensors.torch import save_file

    if tokenizer is not None:
        with replacing(folder / "tokenizer.json") as temporary:
            temporary.write_bytes(tokenizer.read_bytes())
    write_json(folder / "model.json", asdict(config))
    with replacing(folder / "model.safetensors") as temporary:
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, temporary)


def load_model(folder: Path) -> OpenClipDualEncoder:
    """Read a model that `save_model` wrote, in eval mode on the CPU.

    Raises:
        UserError: a file is missing, truncated, or of another architecture.
    """
    from pydantic import TypeAdapter, ValidationError
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        config = TypeAdapter(ModelConfig).validate_python(read_json(folder / "model.json"))
    except ValidationError as error:
        why = error.errors()[0]["msg"]
        raise UserError(f"{folder / 'model.json'}: not of a model ({why})", REMAKE) from None
    if config.pretrained is not None:
        model = _build_pretrained(config.pretrained.name, None)
    else:
        model = build_model(config, tokenizer=folder / "tokenizer.json", seed=0)
    weights = folder / "model.safetensors"
    try:
        model.load_state_dict(load_file(weights))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(f"{weights}: not a checkpoint of this model ({error})", REMAKE) from None
    return model.eval()
