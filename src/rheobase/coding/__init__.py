"""Coding: values into input sequences, output sequences into answers; filters, losses and regularisers."""

from rheobase.coding import decoders, encoders, filters, losses, regularisers, spike_trains

__all__ = ["decoders", "encoders", "filters", "losses", "regularisers", "spike_trains"]
