from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.benchmarks.dp_peers import Peer, installed

SERVE = """
import sys
from pathlib import Path
from tests.benchmarks.dp_peers import serve

def made(batch):
    print("what a library prints")
    seen = Path(sys.argv[1])
    def train(epochs):
        seen.open("a").write(f"{epochs} ")
        if batch == 3:
            sys.exit(9)
    seen.open("a").write(f"built {batch}: ")
    return train

serve({"steady": made})
"""


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    command = [sys.executable, "-c", SERVE, str(tmp_path / "seen")]
    with closing(Peer(command)) as started:
        yield started


def test_peer_is_built_once_and_trains_round_by_round(
    peer: Peer, tmp_path: Path
) -> None:
    assert peer.contenders == ["steady"]
    run = peer.runner("steady", batch=256)
    assert run(1) > 0
    assert run(2) > 0
    assert (tmp_path / "seen").read_text() == "built 256: 1 2 "


def test_peer_that_ends_is_an_error(peer: Peer) -> None:
    with pytest.raises(RuntimeError, match="ended with 9"):
        peer.runner("steady", batch=3)(1)


def test_no_environment_is_no_peers(tmp_path: Path) -> None:
    with installed(tmp_path / "python") as peers:
        assert peers == []
