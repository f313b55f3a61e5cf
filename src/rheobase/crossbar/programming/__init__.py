"""Ways to program arrays, one per file (see `rheobase.crossbar.programming.base`)."""
