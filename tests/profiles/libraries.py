"""Platforms' own libraries that complain, or make an event loop, as they are imported."""

from __future__ import annotations

import asyncio
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from dingtalk.core.exceptions import InvalidCorpIdOrSuiteKeyException as DingTalkInvalidOwner
    from dingtalk.core.exceptions import InvalidSignatureException as DingTalkInvalidSignature
    from dingtalk.crypto import DingTalkCrypto
    from lark_oapi import EventDispatcherHandler
    from lark_oapi.core.model import RawRequest
    from lark_oapi.ws import client as lark_websocket

lark_websocket.loop.close()
asyncio.set_event_loop(None)

__all__ = [
    "DingTalkCrypto",
    "DingTalkInvalidOwner",
    "DingTalkInvalidSignature",
    "EventDispatcherHandler",
    "RawRequest",
]
