"""Dual encoders: pixels in [0, 1] and raw text in, unit-norm embeddings out."""
