"""Imports run one way: the layers of the design, read from every module's source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

# A module belongs to the longest prefix that fits; a layer imports from lower ones, and
# from itself. Jobs core and engines know nothing of each other.
LAYERS = {
    "privacyhub.env": 0,
    "privacyhub.logs": 0,
    "privacyhub.processes": 0,
    "privacyhub.engines": 0,
    "jobs": 0,
    "privacyhub.accounts": 1,
    "privacyhub.governance": 1,
    "privacyhub.datasets": 2,
    "privacyhub.anonymization": 3,
    "privacyhub.training": 3,
    "privacyhub.assessment": 4,
    "privacyhub.deployments": 4,
    "privacyhub.feedback": 4,
    "jobs.tasks": 5,
    "privacyhub.api": 6,
    "privacyhub.web": 6,
}
APART = {"privacyhub.engines": "jobs", "jobs": "privacyhub.engines"}
# Configuration, which names everything.
FREE = {
    "privacyhub",
    "privacyhub.settings",
    "privacyhub.urls",
    "privacyhub.asgi",
    "privacyhub.wsgi",
}
HEAVY = ("tensorflow", "tensorflow_privacy", "tf_keras", "keras")
NOT_IN_ENGINES = ("django", "celery", "rest_framework")


def _modules() -> Iterator[tuple[str, Path]]:
    for top in ("privacyhub", "jobs"):
        for path in sorted((REPOSITORY / top).rglob("*.py")):
            parts = path.relative_to(REPOSITORY).with_suffix("").parts
            if "migrations" in parts:
                continue
            yield ".".join(parts).removesuffix(".__init__"), path


def _imports(tree: ast.AST, module: str, *, package: bool) -> Iterator[tuple[str, int]]:
    """(what is imported, line), relative imports made absolute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                kept = parts[: len(parts) - node.level + (1 if package else 0)]
                base = ".".join([*kept, *([node.module] if node.module else [])])
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def _layer(name: str) -> str | None:
    fitting = [
        layer for layer in LAYERS if name == layer or name.startswith(f"{layer}.")
    ]
    return max(fitting, key=len, default=None)


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


CASES = [
    pytest.param(name, path, id=name) for name, path in _modules() if name not in FREE
]


@pytest.mark.parametrize(("module", "path"), CASES)
def test_module_imports_only_from_lower_layers(module: str, path: Path) -> None:
    own = _layer(module)
    assert own is not None, f"{module} belongs to no layer"
    tree = ast.parse(path.read_text())
    upward = [
        f"line {line}: {name}"
        for name, line in _imports(tree, module, package=path.name == "__init__.py")
        if (other := _layer(name)) is not None
        and (LAYERS[other] > LAYERS[own] or APART.get(own) == other)
    ]
    assert not upward, f"{module} ({own}) imports upward: {upward}"


@pytest.mark.parametrize(("module", "path"), CASES)
def test_functions_import_nothing_but_tensorflow(module: str, path: Path) -> None:
    """And `AppConfig.ready`, which runs when the app registry is there."""
    inside = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if path.name == "apps.py" and node.name == "ready":
            continue
        inside += [
            f"line {line}: {name}"
            for name, line in _imports(node, module, package=False)
            if not name.startswith(HEAVY) and not _heavy_neighbour(name)
        ]
    assert not inside, f"{module} imports inside a function: {inside}"


def _heavy_neighbour(name: str) -> bool:
    """A module of ours that itself imports TensorFlow at its top."""
    parts = name.split(".")
    for length in (len(parts), len(parts) - 1):
        path = REPOSITORY.joinpath(*parts[:length]).with_suffix(".py")
        if path.is_file():
            top = ast.Module(ast.parse(path.read_text()).body, [])
            return any(
                found.startswith(HEAVY)
                for found, _ in _imports(_without_functions(top), name, package=False)
            )
    return False


def _without_functions(tree: ast.Module) -> ast.Module:
    kept = [
        node
        for node in tree.body
        if not isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not _is_for_types(node)
    ]
    return ast.Module(kept, [])


@pytest.mark.parametrize(
    ("module", "path"),
    [case for case in CASES if str(case.id).startswith("privacyhub.engines")],
)
def test_engines_know_no_framework(module: str, path: Path) -> None:
    tree = ast.parse(path.read_text())
    found = [
        name
        for name, _ in _imports(tree, module, package=path.name == "__init__.py")
        if name.split(".")[0] in NOT_IN_ENGINES
    ]
    assert not found, f"{module} imports {found}"


@pytest.mark.parametrize(
    ("module", "path"),
    [case for case in CASES if not str(case.id).startswith("privacyhub.engines")],
)
def test_nothing_but_engines_names_tensorflow(module: str, path: Path) -> None:
    """So the web process and the worker's parent never load it."""
    tree = ast.parse(path.read_text())
    found = [
        name
        for name, _ in _imports(tree, module, package=path.name == "__init__.py")
        if name.startswith(HEAVY)
    ]
    assert not found, f"{module} imports {found}"


def test_an_upward_import_is_found() -> None:
    tree = ast.parse("from privacyhub.web import flash\nfrom . import keys")
    found = dict(_imports(tree, "privacyhub.governance.audit", package=False))
    assert found == {"privacyhub.web.flash": 1, "privacyhub.governance.keys": 2}
    assert _layer("privacyhub.web.flash") == "privacyhub.web"
    assert _layer("jobs.tasks.train") == "jobs.tasks"


DRAWS_BY_WORDS = (
    "PoissonSampler",
    "bound_rows_per_unit",
    "rows_of_units",
    "normal_noise",
)


def _fixed_noise(tree: ast.AST) -> list[int]:
    """Lines of calls that choose where the noise or the batches of a run come from."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for argument in node.keywords
        if argument.arg == "noise_source"
        or (
            argument.arg == "words"
            and ast.unparse(node.func).split(".")[-1] in DRAWS_BY_WORDS
        )
    ]


@pytest.mark.parametrize(("module", "path"), CASES)
def test_only_tests_choose_the_source_of_noise(module: str, path: Path) -> None:
    lines = _fixed_noise(ast.parse(path.read_text()))
    assert not lines, f"{module} passes its own randomness: lines {lines}"


def test_a_chosen_source_of_noise_is_found() -> None:
    for call in (
        "training.train(data, noise_source=zeros)",
        "sampling.PoissonSampler(units=1, words=known)",
        "bound_rows_per_unit(keys, max_rows=1, words=known)",
    ):
        assert _fixed_noise(ast.parse(call)) == [1], call
    assert not _fixed_noise(ast.parse("draw(steps=3)"))
