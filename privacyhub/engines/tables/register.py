"""A generated patient register: the hub's own sample table.

No row is a person. Names are made of syllables, addresses end in `example.org` (RFC
2606) and telephone numbers are in the 555-01xx range that is kept for fiction.
`readmitted` follows a logistic model of the clinical columns, so that there is
something to learn.
"""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl

_STARTS = ("Al", "Bren", "Cor", "Dar", "El", "Fen", "Gil", "Hol", "Ing", "Jor", "Kel")
_MIDDLES = ("a", "i", "o", "e", "ara", "imi", "ovo", "enna")
_ENDS = ("dan", "ra", "lin", "mor", "nis", "ta", "vick", "wen", "xa", "zol")
_FAMILY_ENDS = ("berg", "croft", "dale", "field", "ford", "man", "smith", "ton", "wood")

_OCCUPATIONS = (
    ("Retired", 0.22),
    ("Office clerk", 0.11),
    ("Teacher", 0.09),
    ("Nurse", 0.08),
    ("Driver", 0.08),
    ("Engineer", 0.07),
    ("Sales assistant", 0.08),
    ("Cook", 0.06),
    ("Builder", 0.07),
    ("Cleaner", 0.05),
    ("Farmer", 0.04),
    ("Unemployed", 0.05),
)

# Chapter-like groups: label, share, weight in the model of readmission.
_DIAGNOSES = (
    ("I50 Heart failure", 0.11, 1.35),
    ("J44 Chronic obstructive lung disease", 0.10, 1.10),
    ("E11 Type 2 diabetes", 0.13, 0.45),
    ("N18 Chronic kidney disease", 0.07, 1.20),
    ("I21 Heart attack", 0.07, 0.55),
    ("I63 Stroke", 0.07, 0.60),
    ("J18 Pneumonia", 0.11, 0.10),
    ("S72 Hip fracture", 0.07, -0.20),
    ("K80 Gallstones", 0.08, -1.10),
    ("M17 Knee arthrosis", 0.08, -1.40),
    ("C34 Lung cancer", 0.04, 1.50),
    ("F32 Depression", 0.07, 0.15),
)
_ZIP_BASES = (2108, 2215, 6103, 10001, 11201, 19104, 21201, 30303, 48201, 60601, 77002)
_NOISE = 0.4
_INTERCEPT = -2.35


def patient_register(*, rows: int = 20_000, seed: int = 2024) -> pl.DataFrame:
    """The register, the same for the same arguments; `readmitted` is "yes" or "no".

    A model of the clinical columns reaches an AUC of 0.80 to 0.85.
    """
    random = np.random.default_rng(seed)
    people = _people(random, rows=rows)
    clinic, readmitted = _clinic(random, age=people.pop("age"))
    return pl.DataFrame(people | clinic | {"readmitted": readmitted})


def _people(random: np.random.Generator, *, rows: int) -> dict[str, np.ndarray]:
    first = _joined(random, (_STARTS, _MIDDLES, _ENDS), rows=rows)
    last = _joined(random, (_STARTS, _MIDDLES, _FAMILY_ENDS), rows=rows)
    numbers = random.permutation(rows)
    age = random.normal(58, 18, rows)
    # Whoever falls outside is drawn anew: a clip would pile birthdays on two days.
    age = np.where((age < 18) | (age > 97), random.uniform(18, 97, rows), age)
    first_day = date(2024, 1, 1)
    birth = [first_day - timedelta(days=int(years * 365.25)) for years in age]
    sex = random.choice(["female", "male"], rows, p=[0.52, 0.48])
    occupation = random.choice(
        [name for name, _ in _OCCUPATIONS], rows, p=[p for _, p in _OCCUPATIONS]
    )
    occupation = np.where(age > 67, "Retired", occupation)
    zips = np.array([f"{base + 7 * k:05d}" for base in _ZIP_BASES for k in range(6)])
    weights = random.dirichlet(np.full(len(zips), 2.0))
    name = [f"{a} {b}" for a, b in zip(first, last, strict=True)]
    email = [
        f"{a}.{b}{n}@example.org".lower()
        for a, b, n in zip(first, last, numbers, strict=True)
    ]
    return {
        "name": np.array(name),
        "email": np.array(email),
        "phone": np.array(
            [
                f"{200 + n // 100 % 800}-555-01{n % 100:02d}"
                for n in random.permutation(max(rows, 80_000))[:rows]
            ]
        ),
        "record_number": np.array([f"MRN-{700_000 + 7 * n:07d}" for n in numbers]),
        "birth_date": np.array(birth, dtype="datetime64[D]"),
        "zip": random.choice(zips, rows, p=weights),
        "sex": sex,
        "occupation": occupation,
        "age": age,
    }


def _clinic(
    random: np.random.Generator, *, age: np.ndarray
) -> tuple[dict[str, np.ndarray | pl.Series], np.ndarray]:
    """The clinical columns and the outcome that depends on them."""
    rows = len(age)
    group = random.choice(len(_DIAGNOSES), rows, p=[p for _, p, _ in _DIAGNOSES])
    labels = np.array([label for label, _, _ in _DIAGNOSES])
    diabetic, renal = group == 2, group == 3
    hba1c = np.clip(random.normal(5.6, 0.5, rows) + 2.0 * diabetic, 4.0, 14.0)
    hba1c += diabetic * random.exponential(0.7, rows)
    creatinine = random.lognormal(-0.08 + 0.004 * (age - 58), 0.22, rows)
    creatinine *= np.where(renal, 2.4, 1.0)
    hemoglobin = random.normal(13.6, 1.5, rows) - 0.02 * (age - 58) - 1.6 * renal
    pressure = random.normal(128, 17, rows) + 0.25 * (age - 58)
    sodium = random.normal(139, 3.2, rows)
    prior = random.poisson(np.exp(-0.6 + 0.012 * (age - 58)) * 1.1)
    stay = 1 + random.poisson(
        random.gamma(2.2, 1.7, rows) + 0.02 * np.maximum(age - 50, 0)
    )
    score = (
        _INTERCEPT
        + np.array([weight for _, _, weight in _DIAGNOSES])[group]
        + 0.75 * np.minimum(prior, 5)
        + 0.022 * (age - 58)
        + 0.10 * (stay - 5)
        + 0.30 * (hba1c - 6.0)
        + 0.55 * (creatinine - 1.0)
        - 0.28 * (hemoglobin - 13.4)
        + 0.010 * np.abs(pressure - 125)
        - 0.06 * (sodium - 139)
    )
    score += random.normal(0, _NOISE, rows)
    chance = 1 / (1 + np.exp(-score))
    readmitted = np.where(random.random(rows) < chance, "yes", "no")
    columns: dict[str, np.ndarray | pl.Series] = {
        "diagnosis": labels[group],
        "hba1c": _with_gaps(random, hba1c, decimals=1, share=0.04),
        "creatinine": _with_gaps(random, creatinine, decimals=2, share=0.02),
        "hemoglobin": _with_gaps(random, hemoglobin, decimals=1, share=0.02),
        "sodium": _with_gaps(random, sodium, decimals=0, share=0.03),
        "systolic_bp": _with_gaps(random, pressure, decimals=0, share=0.01),
        "length_of_stay": stay.astype(np.int64),
        "prior_admissions": prior.astype(np.int64),
    }
    return columns, readmitted


def _with_gaps(
    random: np.random.Generator, values: np.ndarray, *, decimals: int, share: float
) -> pl.Series:
    """A measured column: rounded, now and then not measured."""
    missing = random.random(len(values)) < share
    series = pl.Series(np.where(missing, np.nan, values.round(decimals)))
    series = series.fill_nan(None)
    return series if decimals else series.cast(pl.Int64)


def _joined(
    random: np.random.Generator, parts: tuple[tuple[str, ...], ...], *, rows: int
) -> list[str]:
    picks = [random.choice(part, rows) for part in parts]
    return ["".join(pieces) for pieces in zip(*picks, strict=True)]
