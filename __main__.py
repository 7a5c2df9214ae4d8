"""Run the command line with ``python -m cuebank``."""

from cuebank.cli import main

if __name__ == "__main__":
    main()
