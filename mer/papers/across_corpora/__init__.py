"""Features of songs across corpora and sounds: what the model of `mer predict` is chosen by."""
