"""The chapter on sounds: what other soundfonts, codecs and levels cost."""
