"""Training methods: each maps (model, batch, generator) to named losses; there is one loop."""

from collections.abc import Mapping

TRAINING_METHODS: Mapping[str, str] = {
    "mat": "mmrobust.training.mat:MAT",
    "standard": "mmrobust.training.standard:Standard",
    "tecoa": "mmrobust.training.tecoa:TeCoA",
}
