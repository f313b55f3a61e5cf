"""Settings that train in about a second, as words of the command line."""

SMALL = ("--hidden", "8", "--epochs", "1", "--steps", "4", "--batch-size", "256")
