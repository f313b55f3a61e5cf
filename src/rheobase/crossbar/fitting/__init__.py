"""Laws of devices fitted to measured curves."""
