"""Everything on the screen while a case is read: tissue, forms, model opinion, sign-off and reports."""
