"""`python -m auricle` is the `auricle` command."""

from auricle.cli import main

if __name__ == "__main__":
    main()
