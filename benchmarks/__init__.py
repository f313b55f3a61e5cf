"""The arena: the same spiking networks, trained by this library, its peers and the bare hardware."""
