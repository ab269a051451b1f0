"""Training methods: each maps (model, batch, setting) to named losses; there is one loop."""

from collections.abc import Mapping

TRAINING_METHODS: Mapping[str, str] = {
    "fare": "mmrobust.training.fare:FARE",
    "leaf": "mmrobust.training.leaf:LEAF",
    "mat": "mmrobust.training.mat:MAT",
    "mmcoa": "mmrobust.training.mmcoa:MMCoA",
    "pmg_aft": "mmrobust.training.pmg_aft:PMGAFT",
    "standard": "mmrobust.training.standard:Standard",
    "tecoa": "mmrobust.training.tecoa:TeCoA",
    "trades": "mmrobust.training.trades:Trades",
}
