"""`python -m targetsel`: the command line."""

from targetsel.cli import main

main()
