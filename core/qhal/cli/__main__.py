"""``python -m qhal.cli``: the command, where scripts are not on the path."""

import sys

from qhal.cli.entry import main

if __name__ == "__main__":
    sys.exit(main())
