"""mmrobust: how multimodal models break under attack, and what makes them robust."""
