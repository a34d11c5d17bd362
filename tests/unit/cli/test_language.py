"""Which language help is in, and how Chinese is broken into lines."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from posthouse.cli.texts.language import chinese_asked, chinese_wanted
from posthouse.cli.texts.lines import Lines, breaks


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"LANG": "zh_CN.UTF-8"}, True),
        ({"LANG": "zh"}, True),
        ({"LANG": "zh_SG.GBK"}, True),
        ({"LANG": "zh-Hans_HK.UTF-8"}, True),
        ({"LANG": "zh_TW.UTF-8"}, False),
        ({"LANG": "de_DE.UTF-8"}, False),
        ({"LC_MESSAGES": "zh_CN.UTF-8", "LANG": "en_US.UTF-8"}, True),
        ({"LC_ALL": "en_US.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8", "LANG": "zh_CN.UTF-8"}, False),
        ({"LC_ALL": "", "LANG": "zh_CN.UTF-8"}, True),
        ({"LC_ALL": "C.UTF-8", "LANG": "zh_CN.UTF-8"}, False),
        ({"LC_CTYPE": "zh_CN.UTF-8"}, False),
        ({"LANGUAGE": "zh_CN:en", "LANG": "en_US.UTF-8"}, True),
        ({"LANGUAGE": "en", "LANG": "zh_CN.UTF-8"}, False),
        ({"LANGUAGE": "ja:zh_TW:zh_CN", "LANG": "ja_JP.UTF-8"}, True),
        ({"LANGUAGE": "zh_CN", "LC_ALL": "C"}, False),
        ({"LANGUAGE": "zh_CN"}, False),
    ],
)
def test_the_environment_asks_for_a_language(environment: dict[str, str], wanted: bool) -> None:
    assert chinese_asked(environment) is wanted


@pytest.mark.parametrize(("encoding", "wanted"), [("utf-8", True), ("gb18030", True), ("latin-1", False)])
def test_an_output_that_holds_no_chinese_gets_none(
    encoding: str, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN")
    monkeypatch.delenv("LANGUAGE", raising=False)
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert chinese_wanted() is wanted
    monkeypatch.setattr("sys.stdout", None)
    assert not chinese_wanted()


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("发布一个事件。", 6, ["发布一", "个事", "件。"]),
        ("（默认 8080）", 8, ["（默认", "8080）"]),
        ("只要 order.created 和", 13, ["只要", "order.created", "和"]),
        ("发布 order.created", 9, ["发布", "order.created"]),
        ("每行一条 [必填]", 14, ["每行一条", "[必填]"]),
        ("甲“乙”丙", 5, ["甲", "“乙”", "丙"]),
        ("", 5, [""]),
    ],
)
def test_lines_end_where_chinese_may(text: str, width: int, lines: list[str]) -> None:
    found = Text(text).divide(breaks(text, width))
    assert [line.plain.rstrip() for line in found] == lines


def test_every_line_fits_and_paragraphs_stay() -> None:
    console = Console(file=io.StringIO(), width=20)
    console.print(Lines(Text("先询问服务器是否接受这把密钥；不接受则以退出码 3 结束。\n\n再来一段。")))
    shown = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert shown == ["先询问服务器是否接受", "这把密钥；不接受则以", "退出码 3 结束。", "", "再来一段。"]
    assert max(map(cell_len, shown)) == 20
