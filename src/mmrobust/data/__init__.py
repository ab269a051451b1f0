"""Datasets: each yields images, captions, their index and the exact positives matrix."""

from collections.abc import Mapping

DATASETS: Mapping[str, str] = {
    "flickr8k": "mmrobust.data.flickr8k:Flickr8k",
    "scenes": "mmrobust.data.scenes.dataset:Scenes",
}
