"""What runs beside the pages: the gate, the REST routes, the intake and the worker."""
