"""The help in Chinese: from `zh_cn.json`, for whoever's environment asks for it, and for the Chinese reference.

The English stands in the code, with the command or the flag that it explains; here it is looked up. A tidy test reads the help
of every command and fails where a text has no Chinese, or where the catalogue holds one that is nowhere any more.
"""
