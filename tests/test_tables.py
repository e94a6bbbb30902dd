"""Tables and texts as spreadsheet programs and editors write them."""

from pathlib import Path

import pytest

from aczerots.errors import InputError
from aczerots.storage.csv_file import read_rows
from aczerots.storage.yaml_file import read_yaml

COLUMNS = ("image", "split")
ROWS = [{"image": "Fall ü", "split": "train"}, {"image": "b,c", "split": "test"}]


def rows(path: Path, content: str | bytes) -> list[dict[str, str]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return [row for _, row in read_rows(path, COLUMNS)]


@pytest.mark.parametrize(
    "content",
    [
        'image,split\nFall ü,train\n"b,c",test\n',
        'image,split\r\nFall ü,train\r\n,\r\n"b,c",test\r\n,\r\n\r\n',
        '\n,\nimage,split\nFall ü,train\n , \n"b,c",test\n',
        "image;split\nFall ü;train\nb,c;test\n;\n",
        "sep=;\r\nimage;split\r\nFall ü;train\r\nb,c;test\r\n",
        'sep=,\r\nimage,split\r\nFall ü,train\r\n"b,c",test\r\n',
        "image\tsplit\nFall ü\ttrain\nb,c\ttest\n",
        'Image , SPLIT\n Fall ü,train\n"b,c" , test\n',
        'image,split,,\nFall ü,train,,\n"b,c",test,,\n,,,\n',
        "\ufeffimage;split\rFall ü;train\rb,c;test\r",
        "image\tsplit\r\nFall ü\ttrain\r\nb,c\ttest\r\n".encode("utf-16"),
    ],
)
def test_tables_of_spreadsheet_programs_are_read(tmp_path: Path, content: str | bytes):
    assert rows(tmp_path / "t.csv", content) == ROWS


def test_messages_name_the_line_of_the_file(tmp_path: Path):
    (tmp_path / "t.csv").write_text("\nimage;split\n;\na;train\n")
    assert [where for where, _ in read_rows(tmp_path / "t.csv", COLUMNS)] == [f"{tmp_path / 't.csv'}, line 4"]


def test_a_short_row_has_empty_cells_and_the_name_in_lower_case_counts(tmp_path: Path):
    found = rows(tmp_path / "t.csv", "image,split,patient,Patient\na,train,p,q\nb\n")
    assert found[0] == {"image": "a", "split": "train", "patient": "p"}
    assert found[1] == {"image": "b", "split": "", "patient": ""}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image|split\na|train\n", r"the column 'image' is missing\. .*commas between them; found: 'image\|split'"),
        ("bild;split\na;train\n", "the column 'image' is missing"),
        ("\n,\n", "the column 'image' is missing.*found: none"),
        ("image,split\na,train\nFall ü,train\n".encode("cp1252"), "line 3: this is not UTF-8 text.*CSV UTF-8"),
        (b"PK\x03\x04 [Content_Types].xml", "this is a spreadsheet or archive.*CSV UTF-8"),
    ],
)
def test_other_tables_are_refused_with_the_way_out(tmp_path: Path, content: str | bytes, message: str):
    with pytest.raises(InputError, match=message):
        rows(tmp_path / "t.csv", content)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_yaml_of_windows_editors_is_read(tmp_path: Path, encoding: str):
    bom = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "d.yaml").write_text(f"{bom}name: Drüse\n", encoding=encoding)
    assert read_yaml(tmp_path / "d.yaml") == {"name": "Drüse"}
