"""The audit trail: events, hash chain, external anchor, row seals and their verification."""
