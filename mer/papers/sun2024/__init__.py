"""SSSL (Sun et al. 2024): self-learning from segments, and simpler ways to learn from them."""
