"""Network architectures that can be named in an experiment, one per file."""

from rheobase.networks import base, connected, convolutional, feed_forward, recurrent

__all__ = ["base", "connected", "convolutional", "feed_forward", "recurrent"]
