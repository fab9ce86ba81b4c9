"""Kinds of systems: features, model and training together."""
