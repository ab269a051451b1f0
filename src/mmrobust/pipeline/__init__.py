"""The study as a graph of jobs: what Snakemake and DVC are told, and what they are asked.

No job imports this package; it plans jobs, and imports no torch.
"""
