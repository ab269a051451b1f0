"""Recall under attack, success rates, and the cells that hold them."""
