"""Predictions for music of one's own, by a model that the study chose."""
