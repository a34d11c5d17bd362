"""Profiles: how well-known platforms speak to those who receive their events, and the receiving side of any of them.

    receiver = ProfileReceiver("wecom", {"token": "…", "aes_key": "…"}, settings={"corp_id": "ww12"})
    received = receiver.receive(request.method, request.url, request.headers, request.body)

Each is a TOML file beside this one, which the server presets endpoints with; a file of your own does as well.
"""

from posthouse_sdk.profiles.file import Profile, profile, profile_names
from posthouse_sdk.profiles.receiver import ProfileReceiver, Received, unwrap

__all__ = ["Profile", "ProfileReceiver", "Received", "profile", "profile_names", "unwrap"]
