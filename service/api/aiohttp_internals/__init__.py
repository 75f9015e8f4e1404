"""All code that relies on private or undocumented parts of aiohttp.

The rule: a name, signature or message of aiohttp that its reference documentation does
not list is used only in this package. Other packages use the documented API of
`aiohttp.web`.

Each module repairs something in aiohttp's server. Its docstring has one headed section
per repair, with these lines:

    Without it:   the error that clients or operators see
    Upstream:     the aiohttp issue, or that none was found
    Versions:     the aiohttp versions with the error
    Test:         the test that fails without the repair
    Can go when:  the condition under which the repair can be deleted

`tests/test_aiohttp_internals.py` checks every private part that is used. It fails after
an aiohttp upgrade that changes one, and says which module to adapt. `pyproject.toml`
pins aiohttp's minor version for the same reason.
"""
