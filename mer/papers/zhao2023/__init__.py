"""Multifaceted (Zhao and Yoshii 2023) and the language models that it is compared with."""
