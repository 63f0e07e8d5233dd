"""Celery without a hub around it, to measure the queue against.

The broker is named by BARE_BROKER, or is the folder BARE_FOLDER. The task adds to the
file BARE_TOLD one line: when it was sent and when it began, in seconds.
"""

from __future__ import annotations

import os
import time

from celery import Celery

FOLDER = os.environ.get("BARE_FOLDER", "")
TOLD = os.environ["BARE_TOLD"]

app = Celery("bare", broker=os.environ.get("BARE_BROKER") or "filesystem://")
app.conf.update(
    task_ignore_result=True,
    task_default_queue="bare",
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)
if FOLDER:
    app.conf.broker_transport_options = {
        "data_folder_in": f"{FOLDER}/messages",
        "data_folder_out": f"{FOLDER}/messages",
        "control_folder": f"{FOLDER}/control",
        "polling_interval": 0.05,
    }
    app.conf.broker_transport = "jobs.folder_broker:Transport"


@app.task
def nothing(sent: float) -> None:
    handle = os.open(TOLD, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{sent} {time.time()}\n".encode())
    os.close(handle)
