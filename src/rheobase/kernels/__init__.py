"""From a neuron's equations to fused kernels: trace, adjoint, Numba source, torch operators."""
