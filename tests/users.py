"""What a user's shell brings to a tool of the environment."""

from __future__ import annotations

import os


def environment() -> dict[str, str]:
    """The variables of this process but those that DVC and Snakemake set for what they start."""
    return {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("DVC_", "SNAKEMAKE_"))
    }
