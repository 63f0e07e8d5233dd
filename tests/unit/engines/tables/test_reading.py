"""Reading: bad files are refused by row and column, good ones are typed once."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from privacyhub.engines.tables import (
    Format,
    Kind,
    ReadLimits,
    SealedError,
    SealedReader,
    SealedWriter,
    TableError,
    TypedTable,
    check_structure,
    detect_format,
    read_table,
)

KEY = bytes(range(32))
SECRET = b"SECRETVALUE"
LONG = ReadLimits(max_row_bytes=64 * 1024)


def frame_of(table: TypedTable) -> pl.DataFrame:
    frame = pl.from_arrow(pa.Table.from_batches(table.batches(), schema=table.schema))
    assert isinstance(frame, pl.DataFrame)
    return frame


def parquet(table: pa.Table | pl.DataFrame, **options: object) -> bytes:
    buffer = io.BytesIO()
    if isinstance(table, pl.DataFrame):
        table = table.to_arrow()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


BAD_CSV = [
    ("empty", b"", "empty_file", None),
    ("blank", b"\n\n", "empty_file", None),
    ("header only", b"a,b\n", "no_rows", None),
    ("header without newline", b"a,b", "no_rows", None),
    ("duplicate header", b"a, a\n1,2\n", "duplicate_header", 0),
    ("empty header", b"a,,c\n1,2,3\n", "empty_header", 0),
    ("reserved header", b"__row_id,b\n1,2\n", "reserved_header", 0),
    ("long header", b"a" * 500 + b",b\n1,2\n", "long_header", 0),
    ("no header", b"1,2\n3,4\n", "no_header", 0),
    ("control character", b'"a\x1b[1m",b\n1,2\n', "bad_header", 0),
    ("short row", b"a,b\n1,2\n" + SECRET + b"\n", "ragged_row", 2),
    ("long row", b"a,b\n1,2\n\n1,2\n1,2," + SECRET + b"\n", "ragged_row", 3),
    ("not UTF-8", b"a,b\n1,2\n3," + SECRET + b"\xff\n", "invalid_utf8", 2),
    ("cut UTF-8", "a,b\n1,\xe9".encode()[:-1], "invalid_utf8", 1),
    ("not UTF-8 after quotes", b'a,b\n1,"x\ny"\n3,\xff\n', "invalid_utf8", 2),
    ("header not UTF-8", b"a\xff,b\n1,2\n", "invalid_utf8", 0),
    ("NUL", b"a,b\n1,2\n1," + SECRET + b"\x00\n", "nul_byte", 2),
    ("open quote", b'a,b\n1,2\n3,"' + SECRET + b"\n4,5\n", "unclosed_quote", 2),
    ("open quote in header", b'"a,b\n1,2\n', "unclosed_quote", 0),
    ("open quote, long", b'a,b\n1,2\n3,"' + b"x,\n" * 99_999, "unclosed_quote", 2),
    (
        "too many columns",
        b",".join(b"c%d" % place for place in range(2001)) + b"\n",
        "too_many_columns",
        0,
    ),
]


@pytest.mark.parametrize(
    ("data", "code", "row"), [case[1:] for case in BAD_CSV], ids=[c[0] for c in BAD_CSV]
)
def test_check_structure_bad_csv_is_refused(
    data: bytes, code: str, row: int | None
) -> None:
    with pytest.raises(TableError) as caught:
        check_structure(io.BytesIO(data), format=Format.CSV, limits=LONG)
    assert caught.value.code == code
    assert caught.value.row == row
    assert SECRET.decode() not in caught.value.message
    if row:
        assert f"Row {row}" in caught.value.message


def test_check_structure_names_row_far_into_the_file() -> None:
    rows = [b'%d,"one\ntwo",x' % place for place in range(30_000)]
    rows[20_000] = b"1,2"
    data = b"a,b,c\n" + b"\n".join(rows)
    with pytest.raises(TableError) as caught:
        check_structure(io.BytesIO(data), format=Format.CSV, limits=LONG)
    assert caught.value.row == 20_001
    rows[20_000] = b"1,2,\xfe"
    data = b"a,b,c\n" + b"\n".join(rows)
    with pytest.raises(TableError) as caught:
        check_structure(io.BytesIO(data), format=Format.CSV, limits=LONG)
    assert (caught.value.row, caught.value.code) == (20_001, "invalid_utf8")


def test_check_structure_row_beyond_limit_is_refused() -> None:
    data = b"a,b\n1,2\n1," + b"x" * 500_000 + b"\n"
    with pytest.raises(TableError) as caught:
        check_structure(io.BytesIO(data), format=Format.CSV, limits=LONG)
    assert caught.value.code == "row_too_long"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", ", "])
def test_check_structure_finds_the_delimiter(
    delimiter: str, read: Callable[..., TypedTable]
) -> None:
    lines = [("a", "b", "c"), ("1", "x y", "2.5"), ("2", "?", "3")]
    data = "\r\n".join(delimiter.join(line) for line in lines).encode()
    frame = frame_of(read(b"\xef\xbb\xbf" + data))
    assert frame.rows() == [(1, "x y", 2.5), (2, None, 3.0)]


def test_read_table_quotes_newlines_and_inches(
    read: Callable[..., TypedTable],
) -> None:
    frame = frame_of(read(b'a,b\n"x, ""y""\nz",5" nail\nq,w\n'))
    assert frame.rows() == [('x, "y"\nz', '5" nail'), ("q", "w")]


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["1", "?", " 2 "], Kind.INTEGER, [1, None, 2]),
        (["1", "2.5", "NA"], Kind.NUMBER, [1.0, 2.5, None]),
        (["1.5", "1e999", "inf"], Kind.NUMBER, [1.5, None, None]),
        (["1", "NaN", "null"], Kind.INTEGER, [1, None, None]),
        (["02139", "10001"], Kind.TEXT, ["02139", "10001"]),
        (["0", "10", "-3"], Kind.INTEGER, [0, 10, -3]),
        (["0.5", "00.5"], Kind.TEXT, ["0.5", "00.5"]),
        (["0x1f", "1"], Kind.TEXT, ["0x1f", "1"]),
        (["True", "FALSE", ""], Kind.BOOLEAN, [True, False, None]),
        (["True", "1"], Kind.TEXT, ["True", "1"]),
        (["9223372036854775807"], Kind.INTEGER, [2**63 - 1]),
        (["9223372036854775808", "1"], Kind.TEXT, ["9223372036854775808", "1"]),
        (["2024-02-29", "N/A"], Kind.DATE, [dt.date(2024, 2, 29), None]),
        (["2024-02-30"], Kind.TEXT, ["2024-02-30"]),
        (
            ["2024-02-29T10:11", "2024-03-01"],
            Kind.DATETIME,
            [dt.datetime(2024, 2, 29, 10, 11), dt.datetime(2024, 3, 1)],  # noqa: DTZ001
        ),
        (
            ["2024-02-29T10:11:00+02:00"],
            Kind.DATETIME,
            [dt.datetime(2024, 2, 29, 8, 11)],  # noqa: DTZ001
        ),
        (["1", "x"], Kind.TEXT, ["1", "x"]),
        (["?", "NA"], Kind.TEXT, [None, None]),
    ],
)
def test_read_table_infers_kinds(
    cells: list[str],
    kind: Kind,
    values: list[object],
    read: Callable[..., TypedTable],
) -> None:
    table = read("\n".join(["k,v", *(f"r,{cell}" for cell in cells)]).encode())
    assert table.columns[1].kind is kind
    assert frame_of(table)["v"].to_list() == values
    assert table.columns[1].missing >= sum(cell in "?NA" for cell in cells)


@pytest.mark.parametrize(
    ("first", "last", "kind"),
    [
        (b"1", b"x", Kind.TEXT),
        (b"1", b"2.5", Kind.NUMBER),
        (b"2.5", b"1", Kind.NUMBER),
        (b"10001", b"02139", Kind.TEXT),
        (b"2024-01-01", b"2024-01-01 10:00", Kind.DATETIME),
        (b"2024-01-01", b"5", Kind.TEXT),
        (b"true", b"2.5", Kind.TEXT),
        (b"?", b"3", Kind.INTEGER),
    ],
)
def test_read_table_last_row_decides_too(first: bytes, last: bytes, kind: Kind) -> None:
    data = b"v,pad\n" + (first + b",xxxxxxxxxxxxxxxx\n") * 20_000 + last + b",y\n"
    source = io.BytesIO(data)
    structure = check_structure(source, format=Format.CSV, limits=LONG)
    table = read_table(source, format=Format.CSV, structure=structure)
    assert table.columns[0].kind is kind
    batches = list(table.batches())
    assert len(batches) > 3
    assert sum(batch.num_rows for batch in batches) == table.rows == 20_001


def test_read_table_reports_checks(read: Callable[..., TypedTable]) -> None:
    rows = b"".join(b"%d,%d.5,%d,0%d\n" % (k, k, 10**19 + k, k) for k in range(50))
    table = read(b"mixed,inf,long,code\n" + rows + b"none,-1e999,1,1\n")
    found = {(check.column, check.code) for check in table.checks}
    assert found == {
        ("mixed", "mixed_types"),
        ("inf", "non_finite"),
        ("long", "long_integers"),
    }


def test_read_table_adult(adult_path: Path) -> None:
    with adult_path.open("rb") as source:
        structure = check_structure(source, format=Format.CSV)
        table = read_table(source, format=Format.CSV, structure=structure)
        frame = frame_of(table)
    assert (frame.height, frame.width) == (32_561, 15)
    kinds = {column.name: column.kind for column in table.columns}
    numbers = {name for name, kind in kinds.items() if kind is Kind.INTEGER}
    assert numbers == {
        "age",
        "fnlwgt",
        "education-num",
        "capital-gain",
        "capital-loss",
        "hours-per-week",
    }
    assert {kinds[name] for name in kinds.keys() - numbers} == {Kind.TEXT}
    assert frame["occupation"].null_count() == 1_843
    assert frame["income"].unique().sort().to_list() == ["<=50K", ">50K"]


def test_read_table_from_a_sealed_file(adult_path: Path) -> None:
    raw = io.BytesIO()
    with SealedWriter(raw, key=KEY, context=b"u") as sealed:
        sealed.write(adult_path.read_bytes())
    source = io.BufferedReader(SealedReader(raw, key=KEY, context=b"u"))
    structure = check_structure(source, format=Format.CSV)
    table = read_table(source, format=Format.CSV, structure=structure)
    assert frame_of(table).height == 32_561
    assert frame_of(table).height == 32_561


def test_check_structure_tampered_upload_is_refused() -> None:
    raw = io.BytesIO()
    with SealedWriter(raw, key=KEY, context=b"u") as sealed:
        sealed.write(b"a,b\n" + b"1,2\n" * 300_000)
    raw.getbuffer()[400_000] ^= 1
    source = io.BufferedReader(SealedReader(raw, key=KEY, context=b"u"))
    with pytest.raises(SealedError):
        check_structure(source, format=Format.CSV)


def test_read_table_memory_is_bounded_by_a_block() -> None:
    line = b"1234567,some text that is long enough,0.25,2024-01-01\n"
    data = b"a,b,c,d\n" + line * 400_000
    source = io.BytesIO(data)
    before = pa.total_allocated_bytes()
    limits = ReadLimits(max_row_bytes=256 * 1024)
    structure = check_structure(source, format=Format.CSV, limits=limits)
    table = read_table(source, format=Format.CSV, structure=structure)
    most = 0
    for _ in table.batches():
        most = max(most, pa.total_allocated_bytes() - before)
    assert table.rows == 400_000
    assert most < len(data) / 2


def test_parquet_types_come_through(read: Callable[..., TypedTable]) -> None:
    frame = pl.DataFrame(
        {
            "i": pl.Series([1, None, 3], dtype=pl.Int16),
            "f": pl.Series([0.1, float("inf"), float("nan")], dtype=pl.Float32),
            "t": [" x ", "?", "NA"],
            "c": pl.Series(["u", "v", "u"], dtype=pl.Categorical),
            "d": [dt.date(2024, 1, 1), None, dt.date(1900, 1, 1)],
            "b": [True, None, False],
        }
    )
    table = read(parquet(frame), format=Format.PARQUET)
    assert [column.kind.value for column in table.columns] == [
        "integer",
        "number",
        "text",
        "text",
        "date",
        "boolean",
    ]
    rows = frame_of(table).rows()
    assert rows[0] == (1, 0.1, "x", "u", dt.date(2024, 1, 1), True)
    assert rows[1] == (None, None, None, "v", None, None)
    assert [check.code for check in table.checks] == ["non_finite"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"PAR1" + b"x" * 100, "corrupt_parquet"),
        (parquet(pl.DataFrame({"a": [1, 2]}))[:-20], "corrupt_parquet"),
        (parquet(pl.DataFrame({"a": [[1], [2]]})), "unsupported_type"),
        (parquet(pl.DataFrame({"a": [{"x": 1}]})), "unsupported_type"),
        (parquet(pl.DataFrame({"a": [b"x"]})), "unsupported_type"),
        (parquet(pl.DataFrame({"a": []}, schema={"a": pl.Int64})), "no_rows"),
        (parquet(pl.DataFrame({" a": [1], "a": [2]})), "duplicate_header"),
    ],
    ids=["junk", "cut", "list", "struct", "bytes", "no rows", "duplicate"],
)
def test_check_structure_bad_parquet_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(TableError) as caught:
        check_structure(io.BytesIO(data), format=Format.PARQUET)
    assert caught.value.code == code


def test_check_structure_damaged_page_is_refused() -> None:
    frame = pl.DataFrame({"a": [f"value {place * 7919}" for place in range(5000)]})
    blob = bytearray(parquet(frame, use_dictionary=False, compression="snappy"))
    blob[4:40] = b"\x55" * 36
    with pytest.raises(TableError) as caught:
        check_structure(io.BytesIO(bytes(blob)), format=Format.PARQUET)
    assert caught.value.code == "corrupt_parquet"


def test_check_structure_dictionary_bomb_stops_at_the_cap() -> None:
    cells = pa.DictionaryArray.from_arrays(
        pa.array([0] * 100_000, pa.int32()), pa.array(["x" * 100_000])
    )
    blob = parquet(pa.table({"a": cells}))
    assert len(blob) < 1_000_000
    before = pa.total_allocated_bytes()
    with pytest.raises(TableError) as caught:
        check_structure(
            io.BytesIO(blob),
            format=Format.PARQUET,
            limits=ReadLimits(max_decoded_bytes=10**9),
        )
    assert caught.value.code == "too_large"
    assert pa.total_allocated_bytes() - before < 50_000_000


@pytest.mark.parametrize(
    ("filename", "head", "expected"),
    [
        ("t.csv", b"a,b\n1,2\n", Format.CSV),
        ("T.TSV", b"a\tb\n", Format.CSV),
        ("t.csv", b"ORC,b\n1,2\n", Format.CSV),
        ("t.parquet", b"PAR1....", Format.PARQUET),
    ],
)
def test_detect_format(filename: str, head: bytes, expected: Format) -> None:
    assert detect_format(filename=filename, head=head) is expected


@pytest.mark.parametrize(
    ("filename", "head", "code"),
    [
        ("t.csv", b"", "empty_file"),
        ("t.csv", b"PAR1....", "format_mismatch"),
        ("t.parquet", b"a,b\n1,2\n", "format_mismatch"),
        ("t.exe", b"a,b\n", "unknown_extension"),
        ("t.csv", b"PK\x03\x04rest", "unsupported_format"),
        ("t.csv", b"\x1f\x8brest", "unsupported_format"),
        ("t.csv", b"\x80\x04\x95rest", "unsupported_format"),
        ("t.csv", "a,b\n".encode("utf-16"), "utf16"),
        ("t.csv", "a,b\n1,2\n".encode("utf-16-le"), "utf16"),
    ],
)
def test_detect_format_refuses(filename: str, head: bytes, code: str) -> None:
    with pytest.raises(TableError) as caught:
        detect_format(filename=filename, head=head)
    assert caught.value.code == code
