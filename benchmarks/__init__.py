"""The arena: the same spiking networks, trained a step at a time by this library, its peers and the bare hardware."""
