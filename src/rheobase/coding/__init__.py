"""Coding: values into input sequences, output sequences into answers; losses and regularisers."""
