"""Errors that are the user's to mend: one clear line each, shown without a traceback by the command line."""


class RepriseError(Exception):
    """Base of every error whose message says what was wrong and what would have been right."""


class CardError(RepriseError):
    """A card is missing, is not YAML, or breaks the card format; the message names file, line and key."""


class ClaimError(RepriseError):
    """A claim was reported under an unknown id, twice, or not at all."""


class ParameterError(RepriseError):
    """A notebook parameter is unknown or has a value of the wrong type."""


class NotebookError(RepriseError):
    """A notebook cannot be used: missing, without a parameters cell, or not a valid script."""


class DataError(RepriseError):
    """A data set is missing and cannot be downloaded, or its checksum does not match."""


def closest(name: str, choices) -> str:
    """A hint such as ``" (did you mean 'width'?)"``, or ``""`` when no choice is near ``name``."""
    from difflib import get_close_matches

    near = get_close_matches(str(name), [str(c) for c in choices], n=1)
    return f" (did you mean '{near[0]}'?)" if near else ""
