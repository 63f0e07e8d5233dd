"""Jobs: their state, progress and end; cancel and run again."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.urls import URLPattern, path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from jobs import registry, services
from jobs.models import LEAST_PRIORITY, MOST_PRIORITY, Job
from jobs.overview import overview
from jobs.queues import Queue
from jobs.states import State
from privacyhub.accounts.roles import NotAllowed
from privacyhub.api.answers import Accepted, accepted, find
from privacyhub.api.idempotency import idempotent, idempotent_atomic
from privacyhub.governance.priorities import set_priority

LONGEST_NOTHING = 60  # seconds


class JobSerializer(serializers.ModelSerializer):
    owner = serializers.CharField(source="owner.username")
    depends_on = serializers.UUIDField(source="depends_on_id", allow_null=True)
    spec = serializers.DictField()
    result = serializers.DictField()
    saved_to = serializers.IntegerField(source="told_position", allow_null=True)

    class Meta:
        model = Job
        fields = [
            "id",
            "kind",
            "queue",
            "priority",
            "title",
            "owner",
            "state",
            "stage",
            "done",
            "total",
            "epsilon_spent",
            "attempt",
            "workers_lost",
            "saved_to",
            "worker",
            "message",
            "error_code",
            "spec",
            "result",
            "depends_on",
            "cancel_requested_at",
            "created_at",
            "started_at",
            "finished_at",
        ]
        read_only_fields = fields


class NothingSerializer(serializers.Serializer):
    """A job that does nothing, to try the queue out."""

    kind = serializers.ChoiceField(choices=["nothing"])
    seconds = serializers.FloatField(min_value=0, max_value=LONGEST_NOTHING, default=0)


class PrioritySerializer(serializers.Serializer):
    """Among the jobs of a queue that wait, a higher priority starts first."""

    priority = serializers.IntegerField(
        min_value=LEAST_PRIORITY, max_value=MOST_PRIORITY, help_text="normal is 0"
    )


class QueueSerializer(serializers.Serializer):
    """One queue: `oldest_wait` in seconds; the counts by hour and day look back."""

    name = serializers.CharField()
    queued = serializers.IntegerField()
    waits_for_others = serializers.IntegerField()
    oldest_wait = serializers.FloatField()
    running = serializers.IntegerField()
    stuck = serializers.IntegerField()
    succeeded_hour = serializers.IntegerField()
    failed_hour = serializers.IntegerField()
    cancelled_hour = serializers.IntegerField()
    succeeded_day = serializers.IntegerField()
    failed_day = serializers.IntegerField()
    cancelled_day = serializers.IntegerField()
    workers = serializers.IntegerField()
    children = serializers.IntegerField()


class WorkerSerializer(serializers.Serializer):
    """One worker: it does at most `children` jobs at once."""

    name = serializers.CharField()
    queues = serializers.ListField(child=serializers.CharField())
    children = serializers.IntegerField()
    running = serializers.IntegerField()
    is_alive = serializers.BooleanField()
    started_at = serializers.DateTimeField()
    seen_at = serializers.DateTimeField()


class OverviewSerializer(serializers.Serializer):
    """The queue as a whole, over all users."""

    queues = QueueSerializer(many=True)
    workers = WorkerSerializer(many=True)


class QueueOverview(APIView):
    @extend_schema(responses=OverviewSerializer)
    def get(self, request: Request) -> Response:
        if getattr(request.user, "is_analyst", True):
            raise NotAllowed
        return Response(OverviewSerializer(overview()).data)


class JobList(generics.ListAPIView):
    serializer_class = JobSerializer

    def get_queryset(self) -> QuerySet[Job]:
        if getattr(self, "swagger_fake_view", False):
            return Job.objects.none()
        jobs = Job.objects.visible_to(self.request.user).select_related("owner")
        queues = [queue.value for queue in Queue]
        for field, known in (
            ("state", State.values),
            ("kind", registry.kinds()),
            ("queue", queues),
        ):
            wanted = self.request.query_params.get(field)
            if wanted:
                if wanted not in known:
                    raise serializers.ValidationError(
                        {field: [f"One of {', '.join(known)}."]}
                    )
                jobs = jobs.filter(**{field: wanted})
        return jobs

    @extend_schema(
        parameters=[
            OpenApiParameter("state", str, enum=State.values),
            OpenApiParameter("kind", str, enum=registry.kinds()),
            OpenApiParameter("queue", str, enum=[queue.value for queue in Queue]),
        ]
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(request=NothingSerializer, responses={202: Accepted})
    @idempotent
    def post(self, request: Request) -> Response:
        form = NothingSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        spec = {"schema": 1, "seconds": form.validated_data["seconds"]}
        job = services.submit(
            kind="nothing", title="Nothing", owner=request.user, spec=spec
        )
        return accepted(job)


class JobDetail(APIView):
    @extend_schema(responses=JobSerializer)
    def get(self, request: Request, pk: Any) -> Response:
        jobs = Job.objects.visible_to(request.user).select_related("owner")
        return Response(JobSerializer(find(jobs, pk)).data)


class JobCancel(APIView):
    @extend_schema(request=None, responses=JobSerializer)
    @idempotent_atomic
    def post(self, request: Request, pk: Any) -> Response:
        job = services.request_cancel(job=_own(request, pk), by=request.user)
        return Response(JobSerializer(job).data)


class JobPriority(APIView):
    """A queued job goes before or behind others; its owner, or an administrator."""

    @extend_schema(request=PrioritySerializer, responses=JobSerializer)
    @idempotent_atomic
    def post(self, request: Request, pk: Any) -> Response:
        form = PrioritySerializer(data=request.data)
        form.is_valid(raise_exception=True)
        job = set_priority(
            job=find(Job.objects.visible_to(request.user), pk),
            priority=form.validated_data["priority"],
            by=request.user,
        )
        return Response(JobSerializer(job).data)


class JobAgain(APIView):
    @extend_schema(request=None, responses={202: Accepted})
    @idempotent
    def post(self, request: Request, pk: Any) -> Response:
        return accepted(services.run_again(job=_own(request, pk), by=request.user))


def _own(request: Request, pk: Any) -> Job:
    """A job that the user may act on: only their own."""
    job = find(Job.objects.visible_to(request.user), pk)
    if job.owner_id != request.user.pk:
        raise NotAllowed("Only the owner of a job may do this.")
    return job


urlpatterns: list[URLPattern] = [
    path("queues/", QueueOverview.as_view(), name="queues"),
    path("jobs/", JobList.as_view(), name="jobs"),
    path("jobs/<uuid:pk>/", JobDetail.as_view(), name="job"),
    path("jobs/<uuid:pk>/cancel/", JobCancel.as_view(), name="job_cancel"),
    path("jobs/<uuid:pk>/priority/", JobPriority.as_view(), name="job_priority"),
    path("jobs/<uuid:pk>/again/", JobAgain.as_view(), name="job_again"),
]
