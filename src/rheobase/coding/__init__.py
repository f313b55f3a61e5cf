"""Coding: values into input sequences, output sequences into answers; losses and regularisers."""

from rheobase.coding import decoders, encoders, losses, regularisers

__all__ = ["decoders", "encoders", "losses", "regularisers"]
