"""Commands of `python -m db`: accounts, audit trail and backups."""
