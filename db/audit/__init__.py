"""The audit trail: its events, hash chain, external anchor, row seals, and their verification."""
