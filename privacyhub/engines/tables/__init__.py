"""Tables: read, type and check them; the encrypted store's file format."""

from __future__ import annotations

from privacyhub.engines.tables.checks import Check
from privacyhub.engines.tables.durable import Writing
from privacyhub.engines.tables.errors import TableError
from privacyhub.engines.tables.export import escape_cell, to_csv, to_parquet
from privacyhub.engines.tables.formats import HEAD_BYTES, Format, detect_format
from privacyhub.engines.tables.kinds import ARROW_TYPES, Kind, kind_of
from privacyhub.engines.tables.overlap import (
    FEWEST_DISTINCT,
    MOST_REPEATED,
    Shared,
    shared_rows,
)
from privacyhub.engines.tables.profiling import (
    ColumnProfile,
    TableProfile,
    profile,
    target_checks,
)
from privacyhub.engines.tables.readback import FromCsv, from_parquet
from privacyhub.engines.tables.reading import (
    TypedColumn,
    TypedTable,
    check_structure,
    read_table,
)
from privacyhub.engines.tables.register import patient_register
from privacyhub.engines.tables.rowids import (
    ROW_ID,
    Fingerprint,
    RowIds,
    row_digests,
    row_ids,
    same_rows,
    with_row_id,
)
from privacyhub.engines.tables.sealed import (
    SealedError,
    SealedReader,
    SealedWriter,
    seal,
    unseal,
)
from privacyhub.engines.tables.store import (
    Manifest,
    StoreError,
    iter_batches,
    new_key,
    read_schema,
    write_table,
)
from privacyhub.engines.tables.store import read_table as read_stored
from privacyhub.engines.tables.structure import ReadLimits, Structure

__all__ = [
    "ARROW_TYPES",
    "FEWEST_DISTINCT",
    "HEAD_BYTES",
    "MOST_REPEATED",
    "ROW_ID",
    "Check",
    "ColumnProfile",
    "Fingerprint",
    "Format",
    "FromCsv",
    "Kind",
    "Manifest",
    "ReadLimits",
    "RowIds",
    "SealedError",
    "SealedReader",
    "SealedWriter",
    "Shared",
    "StoreError",
    "Structure",
    "TableError",
    "TableProfile",
    "TypedColumn",
    "TypedTable",
    "Writing",
    "check_structure",
    "detect_format",
    "escape_cell",
    "from_parquet",
    "iter_batches",
    "kind_of",
    "new_key",
    "patient_register",
    "profile",
    "read_schema",
    "read_stored",
    "read_table",
    "row_digests",
    "row_ids",
    "same_rows",
    "seal",
    "shared_rows",
    "target_checks",
    "to_csv",
    "to_parquet",
    "unseal",
    "with_row_id",
    "write_table",
]
