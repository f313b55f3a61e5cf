"""A recurrent network reads digits row by row: adaptive neurons, delays, Dale's law, sparse connections."""

import torch
from sklearn.datasets import load_digits

import rheobase as rb


def network() -> rb.Network:
    """40 LIF and 40 adaptive neurons, 4 in 5 of them excitatory, 3 in 10 of the connections among them."""
    signs = torch.where(torch.arange(80) % 5 > 0, 1, -1)
    return rb.Network(
        rows=rb.Dense(8, 80),
        hidden=rb.Recurrent(
            {"lif": (rb.LIF(), 40), "adaptive": (rb.AdaptiveLIF(tau_a=100.0), 40)},
            delays=(1.0, 5.0),  # ms, drawn per connection
            signs=signs,
            density=0.3,
            rewiring=rb.Rewiring(),
            gain=0.3,
        ),
        out=rb.Dense(80, 10, signs=signs),
        readout=rb.Neurons(rb.LeakyIntegrator()),
    )


def main(epochs: int = 15) -> float:
    """Train, and return the accuracy on digits that were held out."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32) / 16.0
    targets = torch.tensor(digits.target)
    torch.manual_seed(0)
    train, test = torch.randperm(len(images)).tensor_split([1500])
    net, generator = network(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)

    def scores(chosen: torch.Tensor) -> torch.Tensor:
        rows = images[chosen].transpose(0, 1).repeat_interleave(5, dim=0)  # [40, B, 8]: 5 ms per row
        return net(rows).output[-10:].mean(0)  # the answer is read when the last rows have been seen

    for _ in range(epochs):
        for batch in train[torch.randperm(len(train))].split(100):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(scores(batch), targets[batch]).backward()
            optimizer.step()
            rb.rewire(net, optimizer, 0.01, generator)
    with torch.no_grad():
        return float((scores(test).argmax(1) == targets[test]).float().mean())


if __name__ == "__main__":
    print(f"accuracy {main():.3f}")
