"""Searches for adversarial captions: candidates x constraints x importance x search."""
