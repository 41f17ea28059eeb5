"""Moved to `reprise.dynamics.explicit`."""

from reprise.dynamics.explicit import from_tableau, method, steps_on_host  # noqa: F401
