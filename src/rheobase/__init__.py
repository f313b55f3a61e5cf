"""Spiking neural networks: any learning rule, on any neuron model, fast on an ordinary CPU.

    import rheobase as rb

The public names, nothing else. Each is loaded when it is first used, so that importing the package
costs nothing; a name's own module has its documentation.

>>> import rheobase as rb
>>> rb.LIF(tau_m=10.0).tau_m
10.0
>>> rb.Lif
Traceback (most recent call last):
AttributeError: module 'rheobase' has no attribute 'Lif'; did you mean 'LIF'?
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rheobase import coding as coding
    from rheobase import networks as networks
    from rheobase import neurons as neurons
    from rheobase import operators as operators
    from rheobase import rules as rules
    from rheobase import surrogate as surrogate
    from rheobase import tasks as tasks
    from rheobase.config import Config as Config
    from rheobase.config import option as option
    from rheobase.config import parameter as parameter
    from rheobase.kernels.constant import Constant as Constant
    from rheobase.kernels.groups import Group as Group
    from rheobase.kernels.recurrent import recurrent as recurrent
    from rheobase.kernels.sequence import kernel_source as kernel_source
    from rheobase.kernels.sequence import sequence as sequence
    from rheobase.layers.connection import Rewiring as Rewiring
    from rheobase.layers.delayed import Delayed as Delayed
    from rheobase.layers.dense import Dense as Dense
    from rheobase.layers.fluctuation import Regime as Regime
    from rheobase.layers.fluctuation import fluctuate as fluctuate
    from rheobase.layers.initialise import match_rates as match_rates
    from rheobase.layers.network import Network as Network
    from rheobase.layers.network import Record as Record
    from rheobase.layers.neurons import Neurons as Neurons
    from rheobase.layers.noise import Noise as Noise
    from rheobase.layers.noise import renew_noise as renew_noise
    from rheobase.layers.over_time import OverTime as OverTime
    from rheobase.layers.recurrent import Recurrent as Recurrent
    from rheobase.layers.replay import Replay as Replay
    from rheobase.layers.rewire import rewire as rewire
    from rheobase.networks.feed_forward import FeedForward as FeedForward
    from rheobase.neurons.adaptive_lif import AdaptiveLIF as AdaptiveLIF
    from rheobase.neurons.base import Inputs as Inputs
    from rheobase.neurons.base import Neuron as Neuron
    from rheobase.neurons.base import State as State
    from rheobase.neurons.conductance_lif import ConductanceLIF as ConductanceLIF
    from rheobase.neurons.ei_conductance_lif import EIConductanceLIF as EIConductanceLIF
    from rheobase.neurons.integrate_and_fire import IntegrateAndFire as IntegrateAndFire
    from rheobase.neurons.leaky_integrator import LeakyIntegrator as LeakyIntegrator
    from rheobase.neurons.lif import LIF as LIF
    from rheobase.neurons.spiking import SpikingNeuron as SpikingNeuron
    from rheobase.neurons.synaptic_integrator import SynapticIntegrator as SynapticIntegrator
    from rheobase.neurons.synaptic_lif import SynapticLIF as SynapticLIF
    from rheobase.rules.bptt import BPTT as BPTT
    from rheobase.training.evaluate import evaluate as evaluate
    from rheobase.training.evaluate import predict as predict
    from rheobase.training.experiment import Experiment as Experiment
    from rheobase.training.fit import fit as fit
    from rheobase.training.fit import resume as resume
    from rheobase.training.restore import load_network as load_network

    __version__: str

# The same once more, for use at run time; a test holds the two together.
_HOMES = {
    "AdaptiveLIF": "rheobase.neurons.adaptive_lif",
    "BPTT": "rheobase.rules.bptt",
    "ConductanceLIF": "rheobase.neurons.conductance_lif",
    "Config": "rheobase.config",
    "Constant": "rheobase.kernels.constant",
    "Delayed": "rheobase.layers.delayed",
    "Dense": "rheobase.layers.dense",
    "EIConductanceLIF": "rheobase.neurons.ei_conductance_lif",
    "Experiment": "rheobase.training.experiment",
    "FeedForward": "rheobase.networks.feed_forward",
    "Inputs": "rheobase.neurons.base",
    "Group": "rheobase.kernels.groups",
    "IntegrateAndFire": "rheobase.neurons.integrate_and_fire",
    "LIF": "rheobase.neurons.lif",
    "LeakyIntegrator": "rheobase.neurons.leaky_integrator",
    "Network": "rheobase.layers.network",
    "Neuron": "rheobase.neurons.base",
    "Neurons": "rheobase.layers.neurons",
    "Noise": "rheobase.layers.noise",
    "OverTime": "rheobase.layers.over_time",
    "Record": "rheobase.layers.network",
    "Recurrent": "rheobase.layers.recurrent",
    "Regime": "rheobase.layers.fluctuation",
    "Replay": "rheobase.layers.replay",
    "Rewiring": "rheobase.layers.connection",
    "SpikingNeuron": "rheobase.neurons.spiking",
    "State": "rheobase.neurons.base",
    "SynapticIntegrator": "rheobase.neurons.synaptic_integrator",
    "SynapticLIF": "rheobase.neurons.synaptic_lif",
    "coding": "rheobase",
    "evaluate": "rheobase.training.evaluate",
    "fluctuate": "rheobase.layers.fluctuation",
    "fit": "rheobase.training.fit",
    "kernel_source": "rheobase.kernels.sequence",
    "load_network": "rheobase.training.restore",
    "match_rates": "rheobase.layers.initialise",
    "networks": "rheobase",
    "neurons": "rheobase",
    "operators": "rheobase",
    "option": "rheobase.config",
    "parameter": "rheobase.config",
    "predict": "rheobase.training.evaluate",
    "renew_noise": "rheobase.layers.noise",
    "recurrent": "rheobase.kernels.recurrent",
    "resume": "rheobase.training.fit",
    "rewire": "rheobase.layers.rewire",
    "rules": "rheobase",
    "sequence": "rheobase.kernels.sequence",
    "surrogate": "rheobase",
    "tasks": "rheobase",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, "__version__"})


def __getattr__(name: str) -> Any:
    from importlib import import_module

    value: Any
    if name == "__version__":
        from importlib.metadata import version

        value = version("rheobase")
    elif name not in _HOMES:
        from difflib import get_close_matches

        # Backwards, so that of names that differ in capitals only, the class is named, not the module.
        names = {known.lower(): known for known in reversed(_HOMES)}
        near = get_close_matches(name.lower(), names, n=1)
        hint = f"; did you mean '{names[near[0]]}'?" if near else ""
        raise AttributeError(f"module 'rheobase' has no attribute '{name}'{hint}")
    elif _HOMES[name] == "rheobase":
        value = import_module(f"rheobase.{name}")
    else:
        value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
