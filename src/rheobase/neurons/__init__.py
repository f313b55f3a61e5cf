"""Neuron models, one per file; each is its equations, written once (see `rheobase.neurons.base`)."""
