"""Learning rules, one per file, behind one interface (see `rheobase.rules.base`)."""
