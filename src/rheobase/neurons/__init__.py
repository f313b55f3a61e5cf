"""Neuron models, one per file; each is its equations, written once (see `rheobase.neurons.base`)."""

from rheobase.neurons import (
    adaptive_lif,
    base,
    conductance_lif,
    dynamics,
    ei_conductance_lif,
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
    "conductance_lif",
    "dynamics",
    "ei_conductance_lif",
    "integrate_and_fire",
    "leaky_integrator",
    "lif",
    "spiking",
    "synaptic_integrator",
    "synaptic_lif",
]
