from __future__ import annotations

import subprocess
import sys

MODULES = (
    *("evaluation.ranks", "evaluation.retrieval", "intervals", "evaluation.metrics"),
    *("evaluation.cells", "evaluation.flags", "evaluation.tables"),
    *("claims.entries", "claims.estimates", "claims.verdicts", "claims.ledger"),
)
PLANNING = ("claims.planning", "study", "sweeps", "figures.catalogue")


def test_judging_and_tabulating_never_import_torch() -> None:
    imports = "; ".join(f"import mmrobust.{module}" for module in MODULES)
    code = f"import sys; {imports}; print(sorted({{'torch', 'open_clip'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_planning_never_imports_numpy() -> None:
    imports = "; ".join(f"import mmrobust.{module}" for module in PLANNING)
    code = f"import sys; {imports}; print(sorted({{'numpy', 'pandas'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
