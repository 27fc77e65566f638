"""`python -m rasteret_refs.cli`: the command line without the installed script."""

from rasteret_refs.cli.main import main

main(prog_name="rasteret-refs")
