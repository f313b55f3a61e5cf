"""Laws of devices, one per file (see `rheobase.crossbar.devices.base`)."""
