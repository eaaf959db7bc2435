"""Commands for accounts, tokens and identities: `python -m db accounts add|list|disable|enable|role|password|...`.

They check no permission, because anyone who can run them can open the database anyway; each change is recorded.
"""

import sys
from collections.abc import Callable
from getpass import getpass
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from core.command_line import show_example
from db import store
from db.commands.session import writing_session
from db.values.accounts import Role, TokenScope

_EXAMPLE = show_example("python -m db accounts add NAME --role reader")

accounts = typer.Typer(epilog=_EXAMPLE, no_args_is_help=True, help="Manage who may sign in, and in which role.")

_Name = Annotated[str, typer.Argument(help="name of the account")]
_AnyRole = Annotated[Role, typer.Option(help="reader, adjudicator, researcher or administrator")]


@accounts.command(epilog=_EXAMPLE)
def add(
    name: _Name,
    role: _AnyRole = Role.READER,
    *,
    without_password: Annotated[
        bool, typer.Option("--without-password", help="the account signs in through an identity provider only")
    ] = False,
) -> None:
    """Create an account; its password is prompted for, or read from standard input."""
    password = None if without_password else _ask_password()
    with writing_session() as session:
        account = store.accounts.add_signing_account(session, None, name, role, password)
    typer.echo(f"{account.name} may sign in as {role}")


@accounts.command(name="list", epilog=show_example("python -m db accounts list"))
def list_accounts() -> None:
    """List all accounts."""
    with writing_session() as session:
        rows = store.accounts.account_rows(session, None)
    for row in rows:
        state = "disabled" if row.disabled else "enabled" if row.can_sign_in else "cannot sign in"
        typer.echo(f"{row.name}\t{row.role}\t{state}\tsince {row.created_at:%Y-%m-%d}")


@accounts.command(epilog=show_example("python -m db accounts disable NAME"))
def disable(name: _Name) -> None:
    """Disable an account and sign it out everywhere at once; its reads are kept."""
    _change(lambda session: store.accounts.set_disabled(session, None, name, disabled=True), f"{name} is disabled")


@accounts.command(epilog=show_example("python -m db accounts enable NAME"))
def enable(name: _Name) -> None:
    """Enable a disabled account."""
    _change(
        lambda session: store.accounts.set_disabled(session, None, name, disabled=False), f"{name} may sign in again"
    )


@accounts.command(epilog=show_example("python -m db accounts role NAME adjudicator"))
def role(name: _Name, role: Annotated[Role, typer.Argument()]) -> None:
    """Change the role of an account; it has to sign in again."""
    _change(lambda session: store.accounts.set_role(session, None, name, role), f"the role of {name} is now {role}")


@accounts.command(epilog=show_example("python -m db accounts password NAME"))
def password(name: _Name) -> None:
    """Set a new password; this ends all sign-ins and tokens of the account."""
    new = _ask_password()
    _change(
        lambda session: store.accounts.set_password(session, None, name, new), f"the password of {name} was changed"
    )


@accounts.command(epilog=show_example('python -m db accounts token NAME --label "image server" --scope predict'))
def token(
    name: _Name,
    label: Annotated[str, typer.Option(help="name of the program that uses it")],
    scope: Annotated[
        TokenScope | None,
        typer.Option(
            help="what the program may do: get predictions, add cases, or export reads; without it, see images as the "
            "account does"
        ),
    ] = None,
) -> None:
    """Create a token for a program; it is shown only once."""
    with writing_session() as session:
        account = store.accounts.account_named(session, name.strip())
        if account is None:
            raise ValueError(f"there is no account {name.strip()!r}")
        secret = store.sign_ins.add_token(session, None, account, label, scope)
    typer.echo(secret)


@accounts.command(epilog=show_example("python -m db accounts tokens"))
def tokens() -> None:
    """List all tokens by number, without the tokens themselves."""
    with writing_session() as session:
        rows = store.sign_ins.token_rows(session, None)
    for row in rows:
        state = f"revoked {row.revoked_at:%Y-%m-%d}" if row.revoked_at else "valid"
        typer.echo(f"{row.id}\t{row.account}\t{row.label}\t{state}\t{row.scope or 'images'}")


@accounts.command(epilog=show_example("python -m db accounts revoke 7"))
def revoke(number: Annotated[int, typer.Argument(help="number of the token")]) -> None:
    """Revoke a token at once."""
    _change(lambda session: store.sign_ins.revoke_token(session, None, number), f"token {number} is revoked")


@accounts.command(
    epilog=show_example("python -m db accounts link NAME --issuer https://id.example --email name@example.org")
)
def link(
    name: _Name,
    issuer: Annotated[
        str, typer.Option(help="URL that the provider uses as its issuer, such as https://accounts.google.com")
    ],
    subject: Annotated[str, typer.Option(help="the provider's identifier for the person")] = "",
    email: Annotated[str, typer.Option(help="or the e-mail address, which the provider must have verified")] = "",
) -> None:
    """Link an identity at an OpenID provider to an account."""
    _change(
        lambda session: store.identities.link_identity(session, None, name, issuer, subject=subject, email=email),
        f"{subject or email} of {issuer} may sign in as {name}",
    )


@accounts.command(epilog=show_example("python -m db accounts identities"))
def identities() -> None:
    """List all linked identities by number."""
    with writing_session() as session:
        rows = store.identities.identity_rows(session, None)
    for row in rows:
        state = f"unlinked {row.unlinked_at:%Y-%m-%d}" if row.unlinked_at else "linked"
        typer.echo(f"{row.id}\t{row.account}\t{row.issuer}\t{row.subject}\t{row.email}\t{state}")


@accounts.command(epilog=show_example("python -m db accounts unlink 7"))
def unlink(number: Annotated[int, typer.Argument(help="number of the identity")]) -> None:
    """Unlink an identity; its account is signed out everywhere."""
    _change(lambda session: store.identities.unlink_identity(session, None, number), f"identity {number} is unlinked")


def _change(change: Callable[[Session], None], done: str) -> None:
    with writing_session() as session:
        change(session)
    typer.echo(done)


def _ask_password() -> str:
    # Never an argument: those appear in the process list and in the shell history.
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass("Password: ")
    if getpass("Repeat password: ") != first:
        typer.echo("The passwords do not match.", err=True)
        raise typer.Exit(2)
    return first
