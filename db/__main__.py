"""The command line of the database: `python -m db accounts|audit|backup|cases|check|restore`."""

import typer

from db.commands.accounts import accounts
from db.commands.audit import audit
from db.commands.backup import backup, check, restore
from db.commands.cases import cases

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Manage the accounts, audit trail and backups of Second Read. Research use only.",
)
app.add_typer(accounts, name="accounts")
app.add_typer(audit, name="audit")
app.add_typer(cases, name="cases")
for command in (backup, check, restore):
    app.command()(command)


if __name__ == "__main__":
    app()
