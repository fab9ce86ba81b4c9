"""Every table, verdict and interval of the book, as numbers computed from stored runs."""
