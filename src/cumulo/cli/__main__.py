"""`python -m cumulo.cli`, the same as `cumulo`."""

from . import main

main()
