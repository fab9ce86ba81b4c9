"""de Berardinis et al.: EmoMucs, emotion from separated sources (2020)."""
