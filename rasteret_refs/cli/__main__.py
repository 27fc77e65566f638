"""`python -m rasteret_refs.cli`: the command line without the installed script."""

from rasteret_refs.cli.main import main

if __name__ == "__main__":  # processes that `--executor processes` starts import this again
    main(prog_name="rasteret-refs")
