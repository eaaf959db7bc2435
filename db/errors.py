"""Errors of the store that callers handle; every message is written for the reader."""


class UnknownCaseError(LookupError):
    """There is no such case, image, heat map, study or account."""


class NotRevealedError(Exception):
    """The model's opinion, or other readers' opinions, may not be shown to this reader yet."""


class CaseChangedError(Exception):
    """The case has changed since the reader opened it, for example in another window."""


class InStudyError(CaseChangedError):
    """The case belongs to an open study, and this reader may read it only there."""


class IncompleteCaseError(CaseChangedError):
    """Images of the case are still being stored, or its intake was interrupted; nobody may read it yet."""


class StillBlindError(Exception):
    """An image is in a case that somebody still has to read without the model, so no program gets a prediction."""

    def __init__(self, case_id: int) -> None:
        super().__init__(
            f"this image is in case number {case_id}, which must first be read without the model: try again when the "
            "case is signed off, or ask an administrator to open it to predictions"
        )
        self.case_id = case_id


class KeyReusedError(ValueError):
    """An idempotency key came with another request than before."""

    def __init__(self) -> None:
        super().__init__("this Idempotency-Key was sent with another request before: use a new key for each request")


class DatabaseBusyError(Exception):
    """The database is locked, read-only or unreachable, or a disk is full; the same action may succeed later."""


class StoredDifferentlyError(CaseChangedError):
    """The database did not store what was entered, so nothing was saved."""

    def __init__(self) -> None:
        super().__init__(
            "the database did not store what was entered, so nothing was saved: contact an administrator, "
            "who can find the cause with `python -m db audit verify`"
        )


class UnusableDatabaseError(Exception):
    """This version of the program cannot open the database; the message says what to do."""


class NotAllowedError(Exception):
    """The role of this account does not allow the action."""


class BackupError(Exception):
    """A backup cannot be made, read or restored; the message says why."""
