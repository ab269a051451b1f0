"""Searches for adversarial images inside a budget; each maximises any objective of one image."""
