"""Receivers written from the platforms' own documentation by somebody who has not read how Posthouse signs and encrypts.

`judges.signed` verifies, `judges.enveloped` decrypts too. Each judge has the form
`verify_…(method, url, headers, body, secrets, now=None) -> what was told`, and raises `Refused`. With `now` (unix seconds) it
refuses what is older or newer than the platform allows.
"""
