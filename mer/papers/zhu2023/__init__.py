"""Symbolic & Acoustic (Zhu et al. 2023)."""
