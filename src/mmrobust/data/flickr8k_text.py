"""The text files of Flickr8k's official layout: split lists and captions."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

from mmrobust.data.caption_text import normalise_caption
from mmrobust.data.file_tree import FileTree
from mmrobust.data.prepared import SPLITS
from mmrobust.errors import UserError

CAPTIONS = "Flickr8k.token.txt"
LISTS = {split: f"Flickr_8k.{split}Images.txt" for split in SPLITS}


def read_lists(text: FileTree) -> dict[str, list[str]]:
    """Split -> photograph names, in the lists' order; no name twice in them."""
    first: dict[str, str] = {}
    names: dict[str, list[str]] = {split: [] for split in SPLITS}
    for split, listing in LISTS.items():
        for number, name in text.lines(listing):
            place = f"{text.where(listing)}: line {number}"
            if name in first:
                raise UserError(f"{place}: {name} is listed already by {first[name]}")
            first[name] = f"{listing} line {number}"
            names[split].append(name)
        if not names[split]:
            raise UserError(f"{text.where(listing)}: lists no photograph")
    return names


def read_captions(text: FileTree, names: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Photograph -> its normalised captions in the order of their numbers."""
    wanted = {name for listed in names.values() for name in listed}
    found: dict[str, dict[int, str]] = defaultdict(dict)
    for number, line in text.lines(CAPTIONS):
        place = f"{text.where(CAPTIONS)}: line {number}"
        key, tab, caption = line.partition("\t")
        if not tab:
            raise UserError(f"{place} has no tab between name and caption")
        match = re.fullmatch(r"(\S+)#([0-4])", key)
        if match is None:
            raise UserError(f"{place}: {key!r} is not '<photograph>#<0 to 4>'")
        name, index = match[1], int(match[2])
        if name not in wanted:
            continue
        if index in found[name]:
            raise UserError(f"{place}: caption {key} was given before")
        found[name][index] = normalise_caption(caption)
        if not found[name][index]:
            raise UserError(f"{place}: caption {key} is empty without its punctuation")
    for split, listed in names.items():
        for name in listed:
            if name not in found:
                raise UserError(
                    f"{text.where(CAPTIONS)}: no caption of {name}, which {LISTS[split]} lists"
                )
    return {name: [of[index] for index in sorted(of)] for name, of in found.items()}


def check_listed(names: Mapping[str, list[str]], photographs: FileTree, text: FileTree) -> None:
    """Find a missing photograph before the first is decoded, and say which list names it."""
    for split, listed in names.items():
        for name in listed:
            if name not in photographs.members:
                line = next(number for number, each in text.lines(LISTS[split]) if each == name)
                raise UserError(
                    f"{text.where(LISTS[split])}: line {line} lists {name}, "
                    f"which {photographs.root} lacks"
                )
