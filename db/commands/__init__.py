"""The command line of the database: accounts, audit trail and backups."""
