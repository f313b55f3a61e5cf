"""Connections, neuron layers and the network: torch modules on time-major sequences."""
