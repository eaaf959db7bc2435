"""Make backups of the database and its files while the app runs, check them and restore them."""
