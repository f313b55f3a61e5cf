"""From an experiment to a run folder: the loop, checkpoints, logs, health, seeding."""
