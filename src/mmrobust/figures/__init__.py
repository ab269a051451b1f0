"""Figures drawn from result files; nothing here imports torch."""
