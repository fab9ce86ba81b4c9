"""Metrics, group-disjoint splits and bootstrap resamples, on arrays and data frames."""
