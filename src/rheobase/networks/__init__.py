"""Network architectures that can be named in an experiment, one per file."""
