"""`python -m rheobase`: the command line (as `torchrun -m rheobase` starts it)."""

from __future__ import annotations

import sys

from rheobase.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
