"""Access control: the gate, sign-in, sessions, identity providers and browser tabs."""
