"""Reading a case: forms, their state, tissue, model opinion, sign-off and report."""
