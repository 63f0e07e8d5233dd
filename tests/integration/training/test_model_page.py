"""What a model's page says of its guarantee and of its released figures."""

from __future__ import annotations

from collections.abc import Callable
from html import unescape
from typing import Any

from django.urls import reverse

from privacyhub.datasets.models import VersionKind
from privacyhub.engines.dp import accounting
from privacyhub.engines.dp.events import compose, event_from_dict
from privacyhub.engines.dp.guarantee import TRAINED_ON_ANONYMIZED
from privacyhub.engines.prepare.statistics import delta_of_names
from privacyhub.web.templatetags.hub_filters import epsilon_up


def page_of(version: Any, client: Any) -> str:
    url = reverse("web:model_version", args=[version.pk])
    return unescape(client.get(url).content.decode())


def test_model_of_an_anonymized_version_says_whom_it_does_not_protect(
    register_version: Any,
    submit: Callable[..., Any],
    run_jobs: Callable[[], None],
    quick_engine: Any,
    steward: Any,
    client_for: Callable[[Any], Any],
) -> None:
    upload = submit()
    register_version.kind = VersionKind.ANONYMIZED
    register_version.save(update_fields=["kind"])
    anonymized = submit(epsilon="0.5")
    run_jobs()
    told = anonymized.model_version.guarantee["not_covered"]
    assert TRAINED_ON_ANONYMIZED in told
    page = page_of(anonymized.model_version, client_for(steward))
    assert TRAINED_ON_ANONYMIZED in page
    register_version.kind = VersionKind.UPLOADED
    register_version.save(update_fields=["kind"])
    fresh = submit(epsilon="0.25")
    run_jobs()
    assert TRAINED_ON_ANONYMIZED not in fresh.model_version.guarantee["not_covered"]
    assert upload.model_version.guarantee["covered"]


def test_adaptive_clip_norm_is_told(
    submit: Callable[..., Any],
    run_jobs: Callable[[], None],
    quick_engine: Any,
    steward: Any,
    client_for: Callable[[Any], Any],
) -> None:
    adaptive = submit(settings={"clip_quantile": 0.5, "clip_norm": 0.25})
    run_jobs()
    page = page_of(adaptive.model_version, client_for(steward))
    assert "Adaptive, quantile 0.5, from 0.25" in page
    assert "of clipped gradients" in page
    fixed = submit(epsilon="0.5", settings={"clip_norm": 0.25})
    run_jobs()
    assert fixed.model_version.guarantee["clipping"] == "fixed at 0.25"
    page = page_of(fixed.model_version, client_for(steward))
    assert "on sums clipped to 0.25" in page
    assert "Adaptive" not in page


def test_groups_of_two_and_five_are_told_with_their_epsilon(
    model_version: Any, steward: Any, client_for: Callable[[Any], Any]
) -> None:
    told = model_version.guarantee
    paid, readings = (event_from_dict(event) for event in told["events"])
    delta, additive = float(told["delta"]), told["additive_delta"]
    assert additive > 0
    page = page_of(model_version, client_for(steward))
    for size in (2, 5):
        names = delta_of_names(
            additive_delta=additive,
            readings=[readings],
            max_rows_per_unit=1,
            size=size,
        )
        epsilon = accounting.group_epsilon(
            compose([paid, readings]), delta=delta - names, size=size
        )
        assert told["group_epsilons"][str(size)] == epsilon
        row = page[page.index(f">{size} units</th>") :].partition("</tr>")[0]
        assert f">{epsilon_up(epsilon)}</td>" in row
    assert told["group_epsilons"]["5"] > told["group_epsilons"]["2"] > 2


def test_a_group_without_a_bound_is_told_with_its_reason(
    model_version: Any, steward: Any, client_for: Callable[[Any], Any]
) -> None:
    model_version.guarantee["group_epsilons"]["5"] = None
    model_version.save()
    page = page_of(model_version, client_for(steward))
    row = page[page.index(">5 units</th>") :].partition("</tr>")[0]
    assert ">no bound</td>" in row
    assert "Where there is no bound" in page


def test_groups_without_names_to_find_have_bounds(
    submit: Callable[..., Any],
    run_jobs: Callable[[], None],
    quick_engine: Any,
    steward: Any,
    client_for: Callable[[Any], Any],
) -> None:
    run = submit(features=["sodium", "creatinine"])
    run_jobs()
    told = run.model_version.guarantee
    assert told["additive_delta"] == 0
    assert told["group_epsilons"]["5"] > told["group_epsilons"]["2"] > 1
    page = page_of(run.model_version, client_for(steward))
    assert "no bound" not in page


def test_noise_of_the_released_figures_is_told(
    model_version: Any, steward: Any, client_for: Callable[[Any], Any]
) -> None:
    page = page_of(model_version, client_for(steward))
    assert "of standard deviation 2.83 rows in each count" in page  # sqrt(2) / 0.5
    roc = model_version.assessments.get().released["roc"]
    assert len(roc["low"]) == len(roc["high"]) == len(roc["tpr"])
    figure = page[page.index('id="released-roc"') :].partition("</script>")[0]
    assert '"lower"' in figure


def test_released_figures_of_a_bare_model_are_not_called_covered(
    submit: Callable[..., Any],
    run_jobs: Callable[[], None],
    quick_engine: Any,
    steward: Any,
    client_for: Callable[[Any], Any],
) -> None:
    run = submit(privacy="none", reason="to compare it")
    run_jobs()
    page = page_of(run.model_version, client_for(steward))
    assert 'id="released-roc"' in page
    assert "Covered by the guarantee" not in page
    assert page.count("Noise for held-out units alone") == 2
    assert "covers these units alone" in page


def test_several_classes_have_curves_of_right_answers(
    submit: Callable[..., Any],
    run_jobs: Callable[[], None],
    quick_engine: Any,
    steward: Any,
    client_for: Callable[[Any], Any],
) -> None:
    run = submit(target="diagnosis", classes=[], metrics_epsilon="3")
    run_jobs()
    page = page_of(run.model_version, client_for(steward))
    assert "ROC curve of right answers" in page
    assert "AUC of right answers" in page
    assert "Confusion matrix" in page
