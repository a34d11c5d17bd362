"""Judges of platforms that encrypt what they send: Feishu, DingTalk, WeChat and WeCom, WeChat Pay."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Any
from xml.etree import ElementTree

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from .asking import Headers, Refused, Secrets, decoded, fresh, header, parameter, posted, query, rsa, same


def unbase64(text: object) -> bytes:
    if not isinstance(text, str):
        raise Refused("no text")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise Refused("no base64") from None


def cbc(key: bytes, iv: bytes, ciphertext: bytes, block: int) -> bytes:
    """AES-256-CBC with PKCS #7 to blocks of 16 or 32 bytes."""
    if not ciphertext or len(ciphertext) % block:
        raise Refused("not whole blocks")
    decryptor = Cipher(AES(key), CBC(iv)).decryptor()
    padded = decryptor.update(ciphertext) + decryptor.finalize()
    count = padded[-1]
    if not 1 <= count <= block or padded[-count:] != bytes([count]) * count:
        raise Refused("the padding is wrong")
    return padded[:-count]


def unframed(encoding_aes_key: str, ciphertext: bytes) -> tuple[bytes, str]:
    """The envelope that WeChat made and DingTalk took over: message, and whom it is for.

    AESKey is base64 of the 43 characters and `=`, the IV its first 16 bytes. Within: 16 random bytes, the message's length
    (4 bytes, big-endian), the message, the receiver's id; padded to a multiple of 32.
    """
    key = base64.b64decode(encoding_aes_key + "=")
    plain = cbc(key, key[:16], ciphertext, 32)
    length = int.from_bytes(plain[16:20], "big")
    if len(plain) < 20 + length:
        raise Refused("shorter than it says")
    return plain[20 : 20 + length], plain[20 + length :].decode()


def sorted_sha1(*texts: str) -> str:
    return hashlib.sha1("".join(sorted(texts)).encode()).hexdigest()


def elements(text: bytes) -> dict[str, Any]:
    """The texts under the root `xml`; where the developer has chosen 数据格式 JSON, the members of an object."""
    if text.startswith(b"{"):
        told: dict[str, Any] = decoded(text)
        return told
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        raise Refused("no XML") from None
    if root.tag != "xml" or len({child.tag for child in root}) != len(root):
        raise Refused("not what WeChat writes")
    return {child.tag: child.text or "" for child in root}


def verify_feishu(
    method: str, url: str, headers: Headers, body: bytes, secrets: Secrets, now: float | None = None
) -> Any:
    """open.feishu.cn, 接收事件: 签名校验 and 事件解密.

    `X-Lark-Signature` is the SHA-256 of timestamp, nonce, Encrypt Key and raw body in hexadecimal. `encrypt` is base64 of an IV
    of 16 bytes and AES-256-CBC, with the SHA-256 of the Encrypt Key as the key. Within, `header.token` (schema 2.0) or `token`
    is the Verification Token. Without such a token among `secrets`, the plaintext is returned as it is.
    """
    posted(method)
    timestamp = header(headers, "X-Lark-Request-Timestamp")
    fresh(timestamp, now)
    signed = (timestamp + header(headers, "X-Lark-Request-Nonce") + secrets["encrypt_key"]).encode() + body
    same(hashlib.sha256(signed).hexdigest(), header(headers, "X-Lark-Signature"))
    data = unbase64(decoded(body).get("encrypt"))
    plain = cbc(hashlib.sha256(secrets["encrypt_key"].encode()).digest(), data[:16], data[16:], 16)
    if "verification_token" not in secrets:
        return plain
    told = decoded(plain)
    same(secrets["verification_token"], told["header"]["token"] if told.get("schema") == "2.0" else told["token"])
    return told


def verify_dingtalk(
    method: str, url: str, headers: Headers, body: bytes, secrets: Secrets, now: float | None = None
) -> Any:
    """open.dingtalk.com, 回调事件消息体加解密: `signature`, `timestamp` (milliseconds), `nonce` in the query, `{"encrypt"}`.

    Newer callbacks spell the parameter `msg_signature`; either is taken.
    """
    posted(method)
    parameters = query(url)
    timestamp, nonce = parameter(url, "timestamp"), parameter(url, "nonce")
    fresh(timestamp, now, 1000)
    encrypted = decoded(body).get("encrypt")
    data = unbase64(encrypted)
    theirs = parameters.get("signature") or parameters.get("msg_signature") or ""
    same(sorted_sha1(secrets["token"], timestamp, nonce, encrypted), theirs)
    message, owner = unframed(secrets["aes_key"], data)
    if owner != secrets["owner_key"]:
        raise Refused("for somebody else")
    return decoded(message)


def verify_wechat(
    method: str, url: str, headers: Headers, body: bytes, secrets: Secrets, now: float | None = None
) -> dict[str, Any]:
    """developer.work.weixin.qq.com, 回调和回复, 加解密方案说明; developers.weixin.qq.com, 消息加解密, is the same.

    `msg_signature` covers token, timestamp (seconds), nonce and `Encrypt`, sorted. Within is XML (or JSON) again. 公众号 and
    小程序 add `encrypt_type=aes`, and a `signature` without `Encrypt`, which vouches for nothing ("不要使用signature验证！").
    """
    posted(method)
    parameters = query(url)
    timestamp, nonce = parameter(url, "timestamp"), parameter(url, "nonce")
    fresh(timestamp, now)
    outer = elements(body)
    if not outer.get("ToUserName"):
        raise Refused("no ToUserName")
    data = unbase64(outer.get("Encrypt"))
    same(sorted_sha1(secrets["token"], timestamp, nonce, outer["Encrypt"]), parameter(url, "msg_signature"))
    if parameters.get("encrypt_type", "aes") != "aes":
        raise Refused("another encryption")
    message, receiver = unframed(secrets["encoding_aes_key"], data)
    if receiver != secrets["receive_id"]:
        raise Refused("for somebody else")
    return elements(message)


def verify_wechat_pay(
    method: str, url: str, headers: Headers, body: bytes, secrets: Secrets, now: float | None = None
) -> Any:
    """pay.weixin.qq.com/doc/v3, 如何验证签名 and 支付成功回调通知. Returns what `resource` holds.

    Signed is `timestamp\\nnonce\\nbody\\n`, with the key whose serial number `Wechatpay-Serial` tells (here the only one).
    """
    posted(method)
    opened = verify_wechat_pay_signature(headers, body, secrets, now)
    for name in ("id", "create_time", "event_type", "summary"):  # 必填
        if not isinstance(opened.get(name), str):
            raise Refused(f"no {name}")
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", opened["create_time"]):
        raise Refused("create_time is no yyyy-MM-DDTHH:mm:ss+TIMEZONE")
    if opened.get("resource_type") != "encrypt-resource" or not opened["resource"].get("original_type"):
        raise Refused("not what WeChat Pay sends")
    return decoded(wechat_pay_resource(opened["resource"], secrets))


def verify_wechat_pay_signature(headers: Headers, body: bytes, secrets: Secrets, now: float | None = None) -> Any:
    """The signature alone, which the answers of WeChat Pay's API have too."""
    timestamp = header(headers, "Wechatpay-Timestamp")
    fresh(timestamp, now)
    if header(headers, "Wechatpay-Serial") != secrets["serial"]:
        raise Refused("another key")
    signed = f"{timestamp}\n{header(headers, 'Wechatpay-Nonce')}\n".encode() + body + b"\n"
    rsa(secrets["platform_key"], unbase64(header(headers, "Wechatpay-Signature")), signed)
    return decoded(body)


def wechat_pay_resource(resource: dict[str, Any], secrets: Secrets) -> bytes:
    """pay.weixin.qq.com/doc/v3, 如何解密证书和回调报文: AES-256-GCM, whose tag of 16 bytes ends the ciphertext.

    Key and nonce are the texts' own bytes, of 32 and of 12 characters; `associated_data` may be missing or empty.
    """
    if resource["algorithm"] != "AEAD_AES_256_GCM" or len(resource["nonce"]) != 12:
        raise Refused("another algorithm")
    gcm = AESGCM(secrets["api_v3_key"].encode())
    try:
        return gcm.decrypt(
            resource["nonce"].encode(),
            unbase64(resource["ciphertext"]),
            (resource.get("associated_data") or "").encode(),
        )
    except InvalidTag:
        raise Refused("does not open") from None
