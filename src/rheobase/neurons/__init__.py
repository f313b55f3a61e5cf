"""Neuron models, one per file; each is its equations, written once (see `rheobase.neurons.base`)."""

from rheobase.neurons import (
    adaptive_lif,
    base,
    dynamics,
    integrate_and_fire,
    leaky_integrator,
    lif,
    spiking,
    synaptic_integrator,
    synaptic_lif,
)

__all__ = [
    "adaptive_lif",
    "base",
    "dynamics",
    "integrate_and_fire",
    "leaky_integrator",
    "lif",
    "spiking",
    "synaptic_integrator",
    "synaptic_lif",
]
