"""`python -m mmrobust`."""

from mmrobust.cli import main

main()
