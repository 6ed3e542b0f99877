"""`python -m thorax_client.commands`."""

from thorax_client.commands import main

main()
