"""Migrations of the tables, one revision after another; run by `db.upgrade`."""
