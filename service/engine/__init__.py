"""The engine: one owner of the network in each worker process, and the way of the server's requests to it."""
