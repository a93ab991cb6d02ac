"""List what a repository offers for a first spec: checkpoints, networks and folders of images."""

from __future__ import annotations

import ast
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pytest_visualbias.stimuli.resolve import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterator

Forge = Literal["github", "gitlab"]
WEIGHTS = (".safetensors", ".pt", ".pth", ".ckpt", ".pt2", ".onnx")

# Files that trainers save beside weights, and data saved as tensors.
NO_WEIGHTS = re.compile(r"(?i)optim|sched|rng|scaler|training_args|dataset|features|embedding")
SKIPPED = frozenset({"node_modules", "site-packages", "build", "dist", "cache", "wandb", "mlruns"})
ENVIRONMENT = "pyvenv.cfg"
MAX_DEPTH = 6
MAX_SOURCE_BYTES = 2**20
MODULE_CLASSES = frozenset({"Module", "nn.Module", "torch.nn.Module"})
LIGHTNING_CLASSES = frozenset({"LightningModule", "pl.LightningModule", "L.LightningModule"})
TIMM_CALLS = frozenset({"create_model", "timm.create_model"})
ARCHITECTURE = re.compile(r"[A-Za-z][\w.]*")

# Files that can configure pytest, and the text that shows that they do.
CONFIGURATIONS = (
    *(("pytest.toml", r""), (".pytest.toml", r""), ("pytest.ini", r""), (".pytest.ini", r"")),
    ("pyproject.toml", r"^\[tool\.pytest(?:\.ini_options)?\]"),
    ("tox.ini", r"^\[pytest\]"),
    ("setup.cfg", r"^\[tool:pytest\]"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """A network that the code builds, as the values of ``--source`` and ``--name``."""

    source: Literal["timm", "factory"]
    name: str
    place: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFolder:
    """A folder whose folders hold images, and how many each of them holds."""

    path: str
    concepts: dict[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    """What `visualbias init` uses of a repository; paths are relative to it."""

    checkpoints: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    image_folders: tuple[ImageFolder, ...] = ()
    requirements: str = ""
    pytest_configuration: str = ""
    forge: Forge | None = None


def scan_repository(folder: Path) -> Repository:
    """List checkpoints, networks and image folders, and how the repository is set up."""
    files = sorted(_files(folder))
    networks = {network: None for path in files for network in _networks(folder, path)}
    return Repository(
        checkpoints=tuple(path for path in files if _holds_weights(folder / path)),
        networks=tuple(networks),
        image_folders=tuple(_image_folders(files)),
        requirements=_requirements(folder),
        pytest_configuration=_pytest_configuration(folder),
        forge=_forge(folder),
    )


def _files(folder: Path) -> Iterator[str]:
    """Yield the files of a repository, but for those of environments, caches and hidden folders."""
    for path, folders, files in os.walk(folder):
        here = Path(path)
        depth = len(here.relative_to(folder).parts)
        folders[:] = [name for name in folders if depth < MAX_DEPTH and _is_visited(here / name)]
        for name in files:
            if not name.startswith(".") and name.isprintable():
                yield (here / name).relative_to(folder).as_posix()


def _is_visited(folder: Path) -> bool:
    name = folder.name.lower()
    is_hidden = name.startswith((".", "__")) or not name.isprintable()
    is_generated = name in SKIPPED or name.endswith(".egg-info") or (folder / ENVIRONMENT).exists()
    return not is_hidden and not is_generated and not folder.is_symlink()


def _holds_weights(path: Path) -> bool:
    is_named_so = path.suffix.lower() in WEIGHTS and not NO_WEIGHTS.search(path.name)
    return is_named_so and path.is_file() and path.stat().st_size > 0


def _image_folders(files: list[str]) -> Iterator[ImageFolder]:
    """Yield each folder that has at least two folders of images."""
    counts: dict[str, dict[str, int]] = {}
    for path in map(Path, files):
        if path.suffix.lower() in IMAGE_SUFFIXES and len(path.parts) > 2:  # noqa: PLR2004
            concepts = counts.setdefault(path.parent.parent.as_posix(), {})
            concepts[path.parent.name] = concepts.get(path.parent.name, 0) + 1
    for folder, concepts in counts.items():
        if len(concepts) > 1:
            yield ImageFolder(path=folder, concepts=concepts)


def _networks(folder: Path, path: str) -> Iterator[Network]:
    """Yield the networks that a Python file builds, without importing it."""
    if not path.endswith(".py"):
        return
    try:
        tree = ast.parse(_text(folder / path))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        name = _timm_name(node)
        if name:
            yield Network(source="timm", name=name, place=f"{path}:{node.lineno}")  # type: ignore[attr-defined]
    module = _module_name(path)
    if module is None:
        return
    classes = _network_classes(tree)
    for definition in tree.body:
        if _returns_network(definition, classes):
            call = f"{module}:{definition.name}"  # type: ignore[attr-defined]
            yield Network(source="factory", name=call, place=f"{path}:{definition.lineno}")


def _timm_name(node: ast.AST) -> str:
    """Return the architecture that a call of timm's ``create_model`` names, else nothing."""
    if not (isinstance(node, ast.Call) and ast.unparse(node.func) in TIMM_CALLS):
        return ""
    named = [keyword.value for keyword in node.keywords if keyword.arg == "model_name"]
    for value in (*node.args[:1], *named):
        if isinstance(value, ast.Constant) and ARCHITECTURE.fullmatch(str(value.value)):
            return str(value.value)
    return ""


def _network_classes(tree: ast.Module) -> frozenset[str]:
    """Return the names of the classes of a file that are networks."""
    known = MODULE_CLASSES | LIGHTNING_CLASSES
    for node in tree.body:  # a base class stands above the class that derives from it
        if isinstance(node, ast.ClassDef) and any(
            ast.unparse(base) in known for base in node.bases
        ):
            known |= {node.name}
    return known


def _returns_network(node: ast.stmt, classes: frozenset[str]) -> bool:
    """Tell whether calling this without arguments seems to return a network."""
    if isinstance(node, ast.ClassDef) and node.name in classes:
        makers = [part for part in node.body if isinstance(part, ast.FunctionDef)]
        makers = [part for part in makers if part.name == "__init__"]
        return not makers or not _needs_arguments(makers[0].args, bound=1)
    if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
        return False
    if _needs_arguments(node.args):
        return False
    if node.returns is not None:
        return ast.unparse(node.returns).strip("'\"") in classes
    return any(
        isinstance(part, ast.Return) and _is_network(part.value, node, classes)
        for part in ast.walk(node)
    )


def _is_network(value: ast.expr | None, function: ast.FunctionDef, classes: frozenset[str]) -> bool:
    """Tell whether a returned value is a call that builds a network, or a name for one."""
    if isinstance(value, ast.Call):
        called = ast.unparse(value.func)
        from_library = called in TIMM_CALLS or called.startswith(("torchvision.models.", "models."))
        return called in classes or called.endswith("nn.Sequential") or from_library
    if isinstance(value, ast.Name):
        assigned = [part for part in ast.walk(function) if isinstance(part, ast.Assign)]
        return any(
            isinstance(part.value, ast.Call) and _is_network(part.value, function, classes)
            for part in assigned
            if any(isinstance(name, ast.Name) and name.id == value.id for name in part.targets)
        )
    return False


def _needs_arguments(arguments: ast.arguments, bound: int = 0) -> bool:
    positional = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
    return positional > bound or any(default is None for default in arguments.kw_defaults)


def _module_name(path: str) -> str | None:
    """Return the name by which the gate imports a file; none for tests and odd names."""
    parts = path.removeprefix("src/").removesuffix(".py").split("/")
    if parts[-1] == "__init__":
        parts = parts[:-1]
    is_test = parts[:1] == ["tests"] or any(part.startswith("test_") for part in parts)
    if not parts or is_test or not all(part.isidentifier() for part in parts):
        return None
    return ".".join(parts)


def _text(path: Path) -> str:
    """Return a small text file; empty if there is none."""
    try:
        if path.stat().st_size > MAX_SOURCE_BYTES:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _requirements(folder: Path) -> str:
    """Return the file that `pip install` takes, if there is one."""
    project = re.compile(r"^\[(?:project|tool\.poetry)\]", re.MULTILINE)
    if project.search(_text(folder / "pyproject.toml")):
        return "pyproject.toml"
    names = ("setup.py", "requirements.txt")
    return next((name for name in names if (folder / name).is_file()), "")


def _pytest_configuration(folder: Path) -> str:
    for name, pattern in CONFIGURATIONS:
        if (folder / name).is_file() and re.search(pattern, _text(folder / name), re.MULTILINE):
            return name
    return ""


def _forge(folder: Path) -> Forge | None:
    """Return the forge whose CI is configured, else that of the remote."""
    if (folder / ".gitlab-ci.yml").is_file():
        return "gitlab"
    if (folder / ".github").is_dir():
        return "github"
    remotes = re.findall(r"^\s*url\s*=\s*(\S+)", _text(folder / ".git" / "config"), re.MULTILINE)
    hosts = [re.sub(r"^(?:\w+://)?(?:[^@/]*@)?([^/:]+).*", r"\1", url) for url in remotes]
    if any("github" in host for host in hosts):
        return "github"
    return "gitlab" if any("gitlab" in host for host in hosts) else None
