"""Who may reach what: the gate, sign-in, sessions, identity providers and browser tabs."""
