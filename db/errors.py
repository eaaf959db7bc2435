"""What can go wrong in the store that a caller acts on; every message is meant for the reader."""


class UnknownCaseError(LookupError):
    """No such case, image or heat map."""


class NotRevealedError(Exception):
    """Something of the model was asked for before this reader's first read was saved."""


class CaseChangedError(Exception):
    """The reader already gave another opinion on this case, in another window or before."""


class InStudyError(CaseChangedError):
    """The case belongs to an open study, and this reader may read it only there."""


class UnusableDatabaseError(Exception):
    """The database cannot be opened by this version of the program; the message says what to do."""


class NotAllowedError(Exception):
    """The role of this account does not allow what was asked for."""


class BackupError(Exception):
    """A backup cannot be made, read or restored; the message says why, and what is left as it was."""
