"""Music emotion recognition: models, features and protocol of an executable reference."""

__version__ = "0.1.0"
