"""Policy templates and pseudonym domains: their lists, saving, loading, ending."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.views.decorators.http import require_GET, require_POST

from privacyhub.anonymization import policy_templates as templates
from privacyhub.anonymization import pseudonyms
from privacyhub.anonymization.models import (
    AnonymizationRun,
    PolicyTemplate,
    PseudonymDomain,
)
from privacyhub.datasets.errors import DataError
from privacyhub.web.flash import explained


@require_GET
def policy_templates(request: HttpRequest) -> HttpResponse:
    """The user's templates, and the keys of their pseudonyms."""
    context = {
        "templates": PolicyTemplate.objects.visible_to(request.user).select_related(
            "owner"
        ),
        "domains": PseudonymDomain.objects.visible_to(request.user).select_related(
            "owner"
        ),
    }
    return render(request, "anonymization/policy_templates.html", context)


@require_POST
def policy_template_upload(request: HttpRequest) -> HttpResponse:
    """Keep a policy from a JSON file."""
    file = request.FILES.get("file")
    with explained(request) as outcome:
        if file is None:
            raise DataError("Choose a file.", code="no_file")
        content = _content(file)
        kept = templates.save(
            name=request.POST.get("name", ""),
            policy=templates.parse(content),
            by=request.user,
        )
    if outcome.ok:
        messages.success(request, f"“{kept.name}” was kept.")
    return redirect("web:policy_templates")


def _content(file: object) -> bytes:
    """The file's bytes; uploads come in sealed and are forgotten afterwards."""
    try:
        size = getattr(file, "size", None)
        if size is not None and size > templates.MOST_BYTES:
            raise DataError("This is too large for a policy.", code="too_large")
        with file.open_plain() as source:  # type: ignore[attr-defined]
            content: bytes = source.read()
    finally:
        file.discard()  # type: ignore[attr-defined]
    return content


@require_GET
def policy_template_json(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The policy as a file."""
    template = _template(request, pk)
    return JsonResponse(
        template.policy,
        json_dumps_params={"indent": 2},
        headers={
            "Content-Disposition": f'attachment; filename="policy-{template.pk}.json"'
        },
    )


@require_POST
def policy_template_delete(request: HttpRequest, pk: UUID) -> HttpResponse:
    with explained(request):
        templates.delete(template=_template(request, pk), by=request.user)
    return redirect("web:policy_templates")


@require_POST
def anonymization_template(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Keep the policy of a run under a name."""
    run = get_object_or_404(AnonymizationRun.objects.visible_to(request.user), pk=pk)
    with explained(request) as outcome:
        kept = templates.save(
            name=request.POST.get("name", ""), policy=run.policy, by=request.user
        )
    if outcome.ok:
        messages.success(request, f"“{kept.name}” was kept as a template.")
    return redirect("web:anonymization", pk=run.pk)


@require_POST
def pseudonym_domain_destroy(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Cut the link between pseudonyms for good."""
    domain = get_object_or_404(PseudonymDomain.objects.visible_to(request.user), pk=pk)
    with explained(request) as outcome:
        pseudonyms.destroy(domain=domain, by=request.user)
    if outcome.ok:
        messages.success(request, f"The key of “{domain.name}” was destroyed.")
    return redirect("web:policy_templates")


def _template(request: HttpRequest, pk: UUID) -> PolicyTemplate:
    return get_object_or_404(PolicyTemplate.objects.visible_to(request.user), pk=pk)


urlpatterns = [
    path("policy-templates/", policy_templates, name="policy_templates"),
    path(
        "policy-templates/upload/",
        policy_template_upload,
        name="policy_template_upload",
    ),
    path(
        "policy-templates/<uuid:pk>/policy.json",
        policy_template_json,
        name="policy_template_json",
    ),
    path(
        "policy-templates/<uuid:pk>/delete/",
        policy_template_delete,
        name="policy_template_delete",
    ),
    path(
        "anonymizations/<uuid:pk>/template/",
        anonymization_template,
        name="anonymization_template",
    ),
    path(
        "pseudonym-domains/<uuid:pk>/destroy/",
        pseudonym_domain_destroy,
        name="pseudonym_domain_destroy",
    ),
]
