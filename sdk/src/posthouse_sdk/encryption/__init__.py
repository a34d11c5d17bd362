"""How a payload is encrypted, both ways: the server seals with it, receivers open with it, through `posthouse_sdk.Decryption`.

settings     the configuration, read and judged without any key         (standard library)
templates    texts with `{variables}`, written and read                  (standard library)
pointers     the fields of a JSON body that are encrypted                (standard library)
bodies       where the variables stand in a body that was received       (standard library)
keys         texts of keys, made into keys                               (cryptography)
ciphers      AES and SM4, with their padding and their frame             (cryptography)
sealing      one general envelope, under a shared or a fresh key         (cryptography)
jose         JWE                                                         (joserfc)
"""
