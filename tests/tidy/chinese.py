"""How Chinese is written in what Posthouse says."""

from __future__ import annotations

import re


def amiss(text: str) -> str:
    """What is wrong with how this text is written; empty where nothing is."""
    if not re.search(r"[\u4e00-\u9fff]", text):
        return "it is not Chinese"
    if re.search(r"[\u4e00-\u9fff][,;:!?()]|[,;!?()][\u4e00-\u9fff]", text):
        return "full-width punctuation"
    if re.search(r"[\u4e00-\u9fff]\w(?<![\u4e00-\u9fff])", text):
        return "a space before other letters"
    if re.search(r"(?![\u4e00-\u9fff])\w[\u4e00-\u9fff]", text):
        return "a space after other letters"
    return "" if text == text.strip() else "no space around it"
