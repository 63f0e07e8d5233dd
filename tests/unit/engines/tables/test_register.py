"""The generated register: the same every time, and worth learning from."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from privacyhub.engines.tables import patient_register


def test_patient_register_is_deterministic() -> None:
    assert patient_register(rows=500).equals(patient_register(rows=500))
    assert not patient_register(rows=500).equals(patient_register(rows=500, seed=1))


def test_patient_register_has_what_the_hub_shows() -> None:
    register = patient_register()
    assert register.height == 20_000
    for name in ("email", "phone", "record_number"):
        assert register[name].n_unique() == 20_000
    assert register["diagnosis"].n_unique() == 12
    assert 50 <= register["zip"].n_unique() <= 70
    assert 0 < register["hba1c"].null_count() < 2_000
    positive = (register["readmitted"] == "yes").mean()
    assert isinstance(positive, float)
    assert 0.25 <= positive <= 0.30


def test_patient_register_can_be_learned() -> None:
    register = patient_register()
    numbers = register.select(
        "hba1c",
        "creatinine",
        "hemoglobin",
        "sodium",
        "systolic_bp",
        "length_of_stay",
        "prior_admissions",
        register["birth_date"].dt.year().alias("year"),
    ).fill_null(strategy="mean")
    features = np.c_[numbers.to_numpy(), register["diagnosis"].to_dummies().to_numpy()]
    features = StandardScaler().fit_transform(features)
    target = (register["readmitted"] == "yes").to_numpy()
    model = LogisticRegression(max_iter=300).fit(features[:15_000], target[:15_000])
    scores = model.predict_proba(features[15_000:])[:, 1]
    assert 0.80 <= roc_auc_score(target[15_000:], scores) <= 0.86
