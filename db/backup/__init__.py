"""Backups of the database and its files, made while the app runs, checked and restored."""
