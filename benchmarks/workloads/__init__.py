"""One workload a file; every module in this folder is discovered (see `benchmarks.harness`)."""
