"""The claims ledger: what a paper says, the cells that test it, and the verdict."""
