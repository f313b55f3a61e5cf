"""What `rheobase train digits` does, from Python: an experiment, a run folder, and what is in it."""

import sys
from pathlib import Path

import rheobase as rb


def main(folder: Path, epochs: int = 5) -> float:
    """Train into `folder`, load the best network again, and return its accuracy on the test digits."""
    changes = {
        "neuron": {"name": "synaptic_lif", "preset": "norse", "tau_m": 20.0},
        "network": {"hidden": [128], "gain": 3.0},
        "regularisers": [{"name": "rate_upper", "rate": 100.0, "strength": 1e-3}],
        "training": {"epochs": epochs, "learning_rate": 2e-3, "seed": 7},
    }
    experiment = rb.Experiment.from_recipe("digits", overrides=changes)
    summary = rb.fit(experiment, folder)
    print(f"test accuracy {summary.value:.3f} (chance {summary.chance:.2f}), {summary.parameters} parameters")

    again, network = rb.load_network(folder, "best")
    assert again == experiment
    test = again.task.splits().test.whole()
    record = network(again.encoder.encode(test.inputs[:1]), record=["hidden1.spikes"])
    print(f"the first test digit makes the hidden layer fire {int(record['hidden1.spikes'].sum())} times")
    return rb.evaluate(folder, which="best").value


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/example"))
