"""Times in the forms and zones that targets ask for."""

import pytest

from posthouse.domain.errors import Invalid
from posthouse.domain.formats import TimeText
from posthouse.wire.times import compile_time

AT = 1767323045.678


@pytest.mark.parametrize(
    ("form", "zone", "written"),
    [
        ("rfc3339", "UTC", "2026-01-02T03:04:05.678Z"),
        ("rfc3339", "Asia/Shanghai", "2026-01-02T11:04:05.678+08:00"),
        ("rfc3339", "America/New_York", "2026-01-01T22:04:05.678-05:00"),
        ("rfc3339", "Asia/Kolkata", "2026-01-02T08:34:05.678+05:30"),
        ("seconds", "Asia/Shanghai", "1767323045"),
        ("milliseconds", "UTC", "1767323045678"),
        ("%Y-%m-%d %H:%M:%S", "Asia/Shanghai", "2026-01-02 11:04:05"),
        ("%Y%m%d%H%M%S%L", "UTC", "20260102030405678"),
        ("%d.%m.%y (%j) %f %z %:z %%Y", "Asia/Kolkata", "02.01.26 (002) 678000 +0530 +05:30 %Y"),
    ],
)
def test_forms(form: str, zone: str, written: str) -> None:
    assert compile_time(TimeText(form=form, zone=zone), path="t")(AT) == written


def test_fractions_are_cut() -> None:
    assert compile_time(TimeText(form="milliseconds"), path="t")(0.9999) == "999"
    assert compile_time(TimeText(form="seconds"), path="t")(1.9999) == "1"
    assert compile_time(TimeText(form="%S.%L"), path="t")(1.9999) == "01.999"
    assert (
        compile_time(TimeText(form="rfc3339", zone="Europe/Berlin"), path="t")(0.9999)
        == "1970-01-01T01:00:00.999+01:00"
    )


@pytest.mark.parametrize(
    ("form", "zone", "path", "said"),
    [
        ("rfc3339", "Mars/Base", "t.zone", "no such time zone"),
        ("rfc3339", "../etc/passwd", "t.zone", "no such time zone"),
        ("iso8601", "UTC", "t.form", "rfc3339, seconds, milliseconds or a pattern"),
        ("%A", "UTC", "t.form", "there is no %A"),
        ("%Y%", "UTC", "t.form", "there is no %"),
        ("%Y\r\n%m", "UTC", "t.form", "all of them printable"),
        ("%Y" * 65, "UTC", "t.form", "at most 128"),
    ],
)
def test_what_is_no_form(form: str, zone: str, path: str, said: str) -> None:
    with pytest.raises(Invalid, match=said) as error:
        compile_time(TimeText(form=form, zone=zone), path=path.partition(".")[0])
    assert error.value.path == path
