"""Hand-crafted descriptors: fixed-length vectors of named numbers for notes and for audio."""

from mer.features.descriptors_acoustic import ACOUSTIC_REVISION, acoustic_descriptors
from mer.features.descriptors_symbolic import SYMBOLIC_REVISION, symbolic_descriptors

__all__ = [
    "ACOUSTIC_REVISION",
    "SYMBOLIC_REVISION",
    "acoustic_descriptors",
    "symbolic_descriptors",
]
