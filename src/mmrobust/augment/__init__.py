"""Augmentations: further captions and pictures of the training items, written as a dataset."""

from collections.abc import Mapping

AUGMENTERS: Mapping[str, str] = {
    "captioner": "mmrobust.augment.captioner:Captioner",
    "eda": "mmrobust.augment.eda:EDA",
    "human_captions": "mmrobust.augment.human_captions:HumanCaptions",
    "image_diffusion": "mmrobust.augment.image_diffusion:ImageDiffusion",
    "randaugment": "mmrobust.augment.randaugment:RandAugment",
    "rewrite": "mmrobust.augment.rewrite:Rewrite",
    "scenes_caption": "mmrobust.augment.scenes_caption:ScenesCaption",
    "scenes_draw": "mmrobust.augment.scenes_draw:ScenesDraw",
    "scenes_paraphrase": "mmrobust.augment.scenes_paraphrase:ScenesParaphrase",
    "scenes_render": "mmrobust.augment.scenes_render:ScenesRender",
    "text_diffusion": "mmrobust.augment.text_diffusion:TextDiffusion",
}
