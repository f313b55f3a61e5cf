"""The command line: from words to an experiment, a run folder, and back. No science in here."""
