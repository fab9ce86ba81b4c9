"""The EMOPIA paper (Hung et al. 2021): its baselines, and plain rows of ours."""

from mer.papers.emopia.tables import (
    ACOUSTIC,
    BASELINES,
    CROSS_VALIDATED,
    DESCRIPTOR_ROWS,
    EMBEDDING,
    NETWORKS,
    PLAIN,
    PUBLISHED,
    REGRESSION,
    SELECTING,
    SELECTION_QUESTIONS,
    SVM,
    SYMBOLIC,
    VARIATIONS,
    WITHOUT_MUSIC,
)

__all__ = [
    "ACOUSTIC",
    "BASELINES",
    "CROSS_VALIDATED",
    "DESCRIPTOR_ROWS",
    "EMBEDDING",
    "NETWORKS",
    "PLAIN",
    "PUBLISHED",
    "REGRESSION",
    "SELECTING",
    "SELECTION_QUESTIONS",
    "SVM",
    "SYMBOLIC",
    "VARIATIONS",
    "WITHOUT_MUSIC",
]
