"""Augmentations: further captions and pictures of the training items, written as a dataset."""

from collections.abc import Mapping

AUGMENTERS: Mapping[str, str] = {
    "human_captions": "mmrobust.augment.human_captions:HumanCaptions",
    "scenes_caption": "mmrobust.augment.scenes_caption:ScenesCaption",
    "scenes_draw": "mmrobust.augment.scenes_draw:ScenesDraw",
    "scenes_paraphrase": "mmrobust.augment.scenes_paraphrase:ScenesParaphrase",
    "scenes_render": "mmrobust.augment.scenes_render:ScenesRender",
}
