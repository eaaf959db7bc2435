"""The command line of the database: `python -m db accounts|audit|backup|cases|check|restore`."""

import typer

from core.command_line import run_app, show_example
from db.commands.accounts import accounts
from db.commands.audit import audit
from db.commands.backup import backup, check, restore
from db.commands.cases import cases

_EXAMPLE = show_example("python -m db backup backups/")

app = typer.Typer(
    epilog=_EXAMPLE,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Manage the accounts, audit trail and backups of Second Read. Research use only.",
)
app.add_typer(accounts, name="accounts")
app.add_typer(audit, name="audit")
app.add_typer(cases, name="cases")
app.command(epilog=_EXAMPLE)(backup)
app.command(epilog=show_example("python -m db check BACKUP"))(check)
app.command(epilog=show_example("python -m db restore BACKUP --data data-restored"))(restore)


if __name__ == "__main__":
    run_app(app)
