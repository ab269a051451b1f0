"""Recall under attack, success rates, intervals, and the cells that hold them."""
