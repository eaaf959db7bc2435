"""The way of the server's requests for analyses to its workers."""
