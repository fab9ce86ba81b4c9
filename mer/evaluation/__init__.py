"""Metrics, group-disjoint splits and uncertainty, on arrays and data frames."""
