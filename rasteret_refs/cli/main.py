"""The command group; each command's module is imported when it is called, so that `--help` is quick."""

import importlib
from typing import Any

import click

_COMMANDS = {
    "annotate": "Add labels from a table to scenes or tiles.",
    "append": "Append new scenes to a reference set.",
    "audit": "Tell everything that a reference set could make a reader touch.",
    "build": "Reference TIFFs from files, lists, STAC, tables or a catalog.",
    "cite": "Tell licence and attribution of what a reference set leads to.",
    "datasets": "List, describe and search the catalog of public datasets.",
    "demo": "Write a few COGs, serve, reference, read and compare them.",
    "drop": "Mark scenes of a reference set as dropped.",
    "export": "Write the references as one kerchunk JSON file.",
    "info": "Show what a reference set holds.",
    "inspect": "Show the IFDs of a TIFF.",
    "merge": "Append the scenes of another reference set.",
    "push": "Publish a reference set below a prefix that never changes.",
    "relocate": "Let references lead to another bucket, mirror or protocol.",
    "split": "Assign scenes or chips to training, validation and testing.",
    "verify": "Check every file of a reference set against its seal.",
}


class _LazyGroup(click.Group):
    """A group whose commands live in modules of their names."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - likewise
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"rasteret_refs.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - likewise
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rasteret-refs")
def main(**_: Any) -> None:
    """Cloud-Optimized GeoTIFFs as Zarr, without copying a pixel."""
