"""What the sources of the music contribute (de Berardinis et al. 2020, section 4.4)."""
