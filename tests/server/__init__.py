"""Tests that start real processes: the server, its workers, a provider of identities."""
