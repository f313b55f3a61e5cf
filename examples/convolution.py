"""A convolutional spiking network on 8x8 digits: any torch module goes into `OverTime`."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import rheobase as rb
from rheobase.coding.encoders import PoissonRate
from rheobase.tasks.digits import Digits


def main(epochs: int = 5) -> float:
    """Train on Poisson spike trains, and return the accuracy on the test digits."""
    torch.manual_seed(0)
    noise = torch.Generator().manual_seed(0)
    encoder = PoissonRate(steps=20, max_rate=500.0)  # Hz; one time step is 1 ms
    splits = Digits().splits()
    train, test = splits.train.whole(), splits.test.whole()
    net = rb.Network(
        features=rb.OverTime(nn.Conv2d(1, 16, 3), nn.AvgPool2d(2)),
        hidden=rb.Neurons(rb.LIF(tau_m=10.0, threshold=0.5)),
        dense=rb.Dense(16 * 3 * 3, 10),
        readout=rb.Neurons(rb.LeakyIntegrator(tau_m=10.0)),
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    for epoch in range(epochs):
        for batch in torch.randperm(len(train.targets)).split(64):
            record = net(encoder.encode(train.inputs[batch], noise))  # spikes [T, B, 1, 8, 8]
            loss = cross_entropy(record.output.mean(0), train.targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: loss {loss.item():.3f}")
    with torch.no_grad():
        scores = net(encoder.encode(test.inputs, noise)).output.mean(0)
    return float((scores.argmax(1) == test.targets).double().mean())


if __name__ == "__main__":
    print(f"test accuracy {main():.3f}")
