"""The papers: each with its systems, its tables row by row, its claims and its own analysis."""
