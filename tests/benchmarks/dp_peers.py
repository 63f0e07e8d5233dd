"""Other libraries' DP training, each in a process of its own environment.

`make bench-peers` makes `.venv-peers`; its packages do not live beside the hub's. Both
sides of the pipe are here: one JSON object a line, so that a round of a peer can be run
between two rounds of the others. A peer first says which contenders it has:

    peer        {"contenders": ["opacus-ghost", "opacus-hooks"]}
    benchmark   {"contender": "opacus-ghost", "batch": 256, "epochs": 0}
    peer        {"speed": 0.0}                          built and compiled
    benchmark   {"contender": "opacus-ghost", "batch": 256, "epochs": 6}
    peer        {"speed": 81000.0}                      expected examples a second
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.dp_setting import ROWS
from tests.benchmarks.results import ROOT

PYTHON = ROOT / ".venv-peers" / "bin" / "python"
MODULES = ("peer_opacus", "peer_jax_privacy")

# Trains for some epochs and returns when the last step is done.
Training = Callable[[int], None]


def serve(contenders: Mapping[str, Callable[[int], Training]]) -> None:
    """A peer's side: trains what the lines of standard input ask for.

    `contenders` makes each one's training for an expected batch, warmed up.
    """
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    made: dict[tuple[str, int], Training] = {}
    _say(answers, {"contenders": list(contenders)})
    for line in sys.stdin:
        asked = json.loads(line)
        name, batch, epochs = asked["contender"], asked["batch"], asked["epochs"]
        if (name, batch) not in made:
            made[name, batch] = contenders[name](batch)
        speed = 0.0
        if epochs:
            begun = time.perf_counter()
            made[name, batch](epochs)
            speed = epochs * ROWS / (time.perf_counter() - begun)
        _say(answers, {"speed": speed})


def _say(stream: Any, told: Mapping[str, Any]) -> None:
    stream.write(json.dumps(told) + "\n")
    stream.flush()


class Peer:
    """The benchmark's side: one library's process, to be closed."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.contenders: list[str] = self._answer()["contenders"]

    def runner(self, contender: str, *, batch: int) -> Callable[[float], float]:
        """Trains for some epochs and returns expected examples a second; warmed up."""

        def run(epochs: float) -> float:
            asked = {"contender": contender, "batch": batch, "epochs": int(epochs)}
            _say(self._process.stdin, asked)
            return float(self._answer()["speed"])

        run(0)
        return run

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise RuntimeError(f"{' '.join(self._command)} ended with {code}.")
        return dict(json.loads(line))

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@contextmanager
def installed(python: Path = PYTHON) -> Iterator[list[Peer]]:
    """The peers, or none where their environment was not made."""
    with ExitStack() as stack:
        peers = []
        for module in MODULES if python.exists() else ():
            peer = Peer([str(python), "-m", f"tests.benchmarks.{module}"])
            stack.callback(peer.close)
            peers.append(peer)
        yield peers
