"""`python -m masklet`: the command line where the `masklet` script is not on the path."""

from masklet.cli import main

if __name__ == "__main__":  # processes that training spawns import this module again
    main()
