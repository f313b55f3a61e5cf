"""A spiking network in your own PyTorch training loop: 8x8 digits, two layers of neurons."""

import torch
from torch.nn.functional import cross_entropy

import rheobase as rb
from rheobase.tasks.digits import Digits


def main(epochs: int = 10) -> float:
    """Train, and return the accuracy on the test digits."""
    torch.manual_seed(0)
    splits = Digits().splits()
    train, test = splits.train.whole(), splits.test.whole()
    net = rb.Network(
        dense1=rb.Dense(64, 128),
        hidden=rb.Neurons(rb.LIF(tau_m=10.0)),
        dense2=rb.Dense(128, 10),
        readout=rb.Neurons(rb.LeakyIntegrator(tau_m=10.0)),
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for epoch in range(epochs):
        for batch in torch.randperm(len(train.targets)).split(64):
            record = net(rb.Constant(train.inputs[batch], steps=25), record=["hidden.spikes"])
            loss = cross_entropy(record.output.mean(0), train.targets[batch])  # output is [T, B, 10]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        rate = 1000 * record["hidden.spikes"].mean().item()  # one time step is 1 ms
        print(f"epoch {epoch}: loss {loss.item():.3f}, hidden neurons fire at {rate:.0f} Hz")
    with torch.no_grad():
        scores = net(rb.Constant(test.inputs, steps=25)).output.mean(0)
    return float((scores.argmax(1) == test.targets).double().mean())


if __name__ == "__main__":
    print(f"test accuracy {main():.3f}")
