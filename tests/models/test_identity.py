"""Which weights and which code an entry means, without loading either."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.identity import identify_factory, identify_timm
from pytest_visualbias.models.source_code import code_files, module_file
from pytest_visualbias.spec.model_entries import FactoryModel, TimmModel

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_visualbias.models.encoder import Context, Identity


def timm_entry(**keys: Any) -> TimmModel:  # noqa: ANN401 - of the spec
    return TimmModel.model_validate({"source": "timm", "name": "test_resnet", **keys})


def factory_entry(call: str = "nets:make", **keys: Any) -> FactoryModel:  # noqa: ANN401
    return FactoryModel.model_validate(
        {"source": "factory", "call": call, "transform": {"size": 8}, **keys}
    )


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def only(found: tuple[Identity, ...]) -> Identity:
    (identity,) = found
    return identity


class TestCheckpoints:
    @pytest.fixture(autouse=True)
    def files(self, context: Context) -> None:
        for name in ("runs/1/model.pt", "runs/2/model.pt", "runs/10.pt", "runs/9.pt", "a[1].pt"):
            write(context.folder / name, name)

    def found(self, context: Context, checkpoint: str | list[str]) -> list[str]:
        entry = timm_entry(checkpoint=checkpoint)
        return [
            str(one.checkpoint.relative_to(context.folder))
            for one in identify_timm(entry, context)
            if one.checkpoint is not None
        ]

    @pytest.mark.parametrize(
        ("checkpoint", "expected"),
        [
            ("runs/9.pt", ["runs/9.pt"]),
            ("runs/*.pt", ["runs/10.pt", "runs/9.pt"]),
            ("runs/*/model.pt", ["runs/1/model.pt", "runs/2/model.pt"]),
            ("runs/**/*.pt", ["runs/1/model.pt", "runs/10.pt", "runs/2/model.pt", "runs/9.pt"]),
            (["runs/9.pt", "runs/10.pt"], ["runs/9.pt", "runs/10.pt"]),
            (["runs/9.pt", "runs/*.pt"], ["runs/9.pt", "runs/10.pt"]),
            ("a[1].pt", ["a[1].pt"]),
        ],
    )
    def test_a_file_a_list_and_a_pattern_are_trials_in_a_fixed_order(
        self, context: Context, checkpoint: str | list[str], expected: list[str]
    ) -> None:
        """None counts twice, and a file whose name looks like a pattern is itself."""
        assert self.found(context, checkpoint) == expected

    def test_an_absolute_path_is_taken_as_it_is(self, context: Context) -> None:
        path = context.folder / "runs" / "9.pt"
        identity = only(identify_timm(timm_entry(checkpoint=str(path)), context))
        assert (identity.checkpoint, identity.label) == (path, "9.pt")

    def test_trials_of_the_same_file_name_are_labelled_by_their_paths(
        self, context: Context
    ) -> None:
        labels = [
            one.label for one in identify_timm(timm_entry(checkpoint="runs/*/model.pt"), context)
        ]
        assert len({*labels}) == 2
        assert all(label.endswith("model.pt") for label in labels)

    @pytest.mark.parametrize(
        ("checkpoint", "message"),
        [
            ("missing.pt", r"the checkpoint .+missing\.pt cannot be read \(No such file"),
            (
                "runs",
                r"the checkpoint .+runs cannot be read \(a folder without model\.safetensors",
            ),
            ("*.bin", r"no checkpoint matches .+\*\.bin; correct the pattern"),
            ("a\0b", r"the checkpoint .+a\\x00b cannot be read \(embedded null byte\)"),
            ("x" * 300, r"the checkpoint .+xxx cannot be read \(File name too long\)"),
        ],
    )
    def test_one_that_is_not_there_is_an_error(
        self, context: Context, checkpoint: str, message: str
    ) -> None:
        with pytest.raises(EncoderError, match=message):
            identify_timm(timm_entry(checkpoint=checkpoint), context)

    def test_a_pointer_of_git_lfs_is_an_error(self, context: Context) -> None:
        pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"
        write(context.folder / "lfs.safetensors", pointer)
        with pytest.raises(EncoderError, match=r"is a Git LFS pointer; run 'git lfs pull'$"):
            identify_timm(timm_entry(checkpoint="lfs.safetensors"), context)

    def test_the_fingerprint_follows_the_content_and_not_the_name(self, context: Context) -> None:
        def fingerprint(name: str, content: str) -> str:
            write(context.folder / name, content)
            return only(identify_timm(timm_entry(checkpoint=name), context)).fingerprint()

        assert fingerprint("one.pt", "x") == fingerprint("two.pt", "x")
        assert fingerprint("one.pt", "x") != fingerprint("one.pt", "y")


class TestUntrained:
    @pytest.mark.parametrize(
        ("keys", "seeds"),
        [
            ({"pretrained": False}, [0]),
            ({"random_init": 3}, [0, 1, 2]),
            ({"pretrained": False, "random_init": 2}, [0, 1]),
        ],
    )
    def test_seeds_start_at_zero(
        self, context: Context, keys: dict[str, Any], seeds: list[int]
    ) -> None:
        found = identify_timm(timm_entry(**keys), context)
        assert [one.seed for one in found] == seeds
        assert [one.label for one in found] == [f"seed {seed}" for seed in seeds]
        assert len({one.fingerprint() for one in found}) == len(seeds)

    def test_a_factory_has_seeds_where_it_says_so(self, context: Context) -> None:
        write(context.project / "nets.py", "")
        found = identify_factory(factory_entry(random_init=2), context)
        assert [one.seed for one in found] == [0, 1]


class TestOwnWeights:
    def test_are_told_apart_by_the_digest_of_what_was_loaded(self, context: Context) -> None:
        identity = only(identify_timm(timm_entry(), context))
        assert (identity.seed, identity.checkpoint, identity.is_whole) == (None, None, False)
        assert identity.fingerprint("one") != identity.fingerprint("other")

    def test_are_what_a_factory_has_unless_it_says_otherwise(self, context: Context) -> None:
        write(context.project / "nets.py", "")
        identity = only(identify_factory(factory_entry(), context))
        assert (identity.seed, identity.is_whole) == (None, False)


class TestFacts:
    @pytest.mark.parametrize(
        "keys",
        [
            {"name": "test_vit"},
            {"transform": {"size": 32}},
            {"ignore": ["head."]},
            {"pretrained": True},
        ],
    )
    def test_whatever_changes_embeddings_changes_the_fingerprint(
        self, context: Context, keys: dict[str, Any]
    ) -> None:
        one = identify_timm(timm_entry(pretrained=False), context)[0]
        other = identify_timm(timm_entry(**{"pretrained": False, **keys}), context)[0]
        assert one.fingerprint() != other.fingerprint()

    @pytest.mark.parametrize("place", [{"container": "ema"}, {"prefix": ""}, {"prefix": "a."}])
    def test_other_weights_of_one_checkpoint_are_another_model(
        self, context: Context, place: dict[str, str]
    ) -> None:
        (context.folder / "c.pt").write_bytes(b"weights")
        one, same, other = (
            only(identify_timm(timm_entry(checkpoint="c.pt", **keys), context))
            for keys in ({}, {"container": None}, place)
        )
        assert one.fingerprint() == same.fingerprint() != other.fingerprint()
        assert one.facts.keys().isdisjoint({"container", "prefix"}), (
            "what was recorded before these keys were known would not be found again"
        )
        assert {*other.facts.items()} >= {*place.items()}

    def test_sources_differ(self, context: Context) -> None:
        write(context.project / "nets.py", "")
        facts = only(identify_factory(factory_entry(random_init=1), context)).facts
        assert facts["source"] == "factory"
        assert {"torch", "code", "call", "transform"} <= facts.keys()


FILES = {
    "src/pkg/__init__.py": "VERSION = 1\n",
    "src/pkg/nets.py": "from . import parts\nfrom pkg.deep.blocks import Block\n",
    "src/pkg/parts.py": "import torch\nimport os.path\n",
    "src/pkg/deep/__init__.py": "",
    "src/pkg/deep/blocks.py": "from ..widths import WIDTH as W\n",
    "src/pkg/widths.py": "import constants\nWIDTH = 3\n",
    "constants.py": "ONE = 1\n",
    "src/pkg/lazy.py": "",
    "src/pkg/unrelated.py": "",
    "README.md": "",
    "train.py": "import pkg.nets\n",
}
IMPORTED = (
    "src/pkg/__init__.py",
    "src/pkg/nets.py",
    "src/pkg/parts.py",
    "src/pkg/deep/__init__.py",
    "src/pkg/deep/blocks.py",
    "src/pkg/widths.py",
    "constants.py",
)


class TestCode:
    """The digest of a factory covers what it imports of the project, and nothing else."""

    @pytest.fixture(autouse=True)
    def project(self, context: Context) -> None:
        for name, text in FILES.items():
            write(context.project / name, text)

    def code(self, context: Context, call: str = "pkg.nets:make") -> str:
        return only(identify_factory(factory_entry(call, random_init=1), context)).facts["code"]

    def test_the_files_are_those_imported_directly_or_not(self, context: Context) -> None:
        found = code_files(module_file("pkg.nets", context), context)
        names = {path.relative_to(context.project.resolve()).as_posix() for path in found}
        assert names == {*IMPORTED}

    @pytest.mark.parametrize("name", IMPORTED)
    def test_it_changes_with_every_imported_file(self, context: Context, name: str) -> None:
        before = self.code(context)
        write(context.project / name, FILES[name] + "# edited\n")
        assert self.code(context) != before

    @pytest.mark.parametrize("name", sorted(FILES.keys() - {*IMPORTED}))
    def test_it_does_not_change_with_an_unrelated_file(self, context: Context, name: str) -> None:
        before = self.code(context)
        write(context.project / name, FILES[name] + "# edited\n")
        write(context.project / "src/pkg/new.py", "")
        assert self.code(context) == before

    def test_an_import_inside_a_function_counts(self, context: Context) -> None:
        write(
            context.project / "src/pkg/nets.py",
            "def make():\n    from .lazy import Net\n    return Net()\n",
        )
        before = self.code(context)
        write(context.project / "src/pkg/lazy.py", "x = 1\n")
        assert self.code(context) != before

    def test_code_from_elsewhere_that_was_not_installed_counts(
        self, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As of PYTHONPATH, or of a package that is installed to be edited: no version tells."""
        monkeypatch.syspath_prepend(tmp_path / "elsewhere")
        nets = "import helper_of_nets\nfrom layers_of_nets import blocks\n"
        write(context.project / "src/pkg/nets.py", nets)
        places = ("helper_of_nets.py", "layers_of_nets/__init__.py", "layers_of_nets/blocks.py")
        for name in (*places, "unrelated.py"):
            write(tmp_path / "elsewhere" / name, "x = 1\n")
        known = {self.code(context)}
        for name in places:
            write(tmp_path / "elsewhere" / name, "x = 2\n")
            known.add(self.code(context))
        assert len(known) == 1 + len(places)
        write(tmp_path / "elsewhere/unrelated.py", "x = 2\n")
        assert self.code(context) in known

    def test_a_file_does_not_hide_one_of_its_name_in_another_root(
        self, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.syspath_prepend(tmp_path / "elsewhere")
        write(context.project / "src/pkg/nets.py", "import twice_there\n")
        for folder in (context.project, tmp_path / "elsewhere"):
            write(folder / "twice_there.py", "x = 1\n")
        known = {self.code(context)}
        for folder in (context.project, tmp_path / "elsewhere"):
            write(folder / "twice_there.py", "x = 2\n")
            known.add(self.code(context))
        assert len(known) == 3

    def test_a_file_is_parsed_again_only_if_it_changed(
        self, context: Context, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = self.code(context)
        parsed = Mock(side_effect=ast.parse)
        monkeypatch.setattr(ast, "parse", parsed)
        assert self.code(context) == before
        assert parsed.call_count == 0
        write(context.project / "src/pkg/nets.py", FILES["src/pkg/nets.py"] + "# edited\n")
        assert self.code(context) != before
        assert parsed.call_count == 1

    def test_a_circle_of_imports_ends(self, context: Context) -> None:
        write(context.project / "one.py", "import two\n")
        write(context.project / "two.py", "import one\n")
        assert len(code_files(module_file("one", context), context)) == 2

    def test_packages_around_a_module_count_although_it_names_none(self, context: Context) -> None:
        """Importing a.b.c runs the code of a and of a.b."""
        before = self.code(context, "pkg.deep.blocks:Block")
        write(context.project / "src/pkg/deep/__init__.py", "import torch\n")
        between = self.code(context, "pkg.deep.blocks:Block")
        write(context.project / "src/pkg/__init__.py", "VERSION = 2\n")
        assert len({before, between, self.code(context, "pkg.deep.blocks:Block")}) == 3

    def test_an_imported_file_that_is_not_python_is_an_error(self, context: Context) -> None:
        write(context.project / "constants.py", "ONE = = 1\n")
        with pytest.raises(EncoderError, match=r"constants\.py:1 is not Python"):
            self.code(context)

    def test_nothing_of_it_is_run(self, context: Context) -> None:
        write(context.project / "src/pkg/nets.py", "raise SystemExit('it was run')\n")
        assert self.code(context)

    def test_a_module_that_is_not_there_is_an_error(self, context: Context) -> None:
        with pytest.raises(EncoderError) as caught:
            self.code(context, "pkg.netz:make")
        assert "the module 'pkg.netz' was not found below " in str(caught.value)
        assert str(context.project / "src") in str(caught.value)


def test_a_module_that_no_file_can_have_is_an_error(context: Context) -> None:
    with pytest.raises(EncoderError, match="was not found below"):
        identify_factory(factory_entry(f"{'x' * 300}:make"), context)


def test_identifying_imports_no_torch() -> None:
    """A run that is answered from the cache, and collection, need none."""
    code = (
        "import sys, pathlib\n"
        "from pytest_visualbias.models.encoder import Context, find_source\n"
        "from pytest_visualbias.spec.model_entries import TimmModel\n"
        "here = pathlib.Path()\n"
        "entry = TimmModel(source='timm', name='resnet50', pretrained=False)\n"
        "find_source('timm').identify(entry, Context(folder=here, project=here))\n"
        "assert not {'torch', 'timm', 'PIL'} & sys.modules.keys()\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_versions_of_packages_that_a_factory_imports_are_facts(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code from elsewhere is not digested; another version of it is another network."""
    (context.project / "nets.py").write_text("import json, numpy, torch, helper\n")
    (context.project / "helper.py").write_text("import yaml\n")
    entry = factory_entry(random_init=1)
    (first,) = identify_factory(entry, context)
    packages = json.loads(first.facts["packages"])
    assert packages == {
        "numpy": importlib.metadata.version("numpy"),
        "PyYAML": importlib.metadata.version("PyYAML"),
    }
    monkeypatch.setattr(
        "pytest_visualbias.models.source_code.version_of", lambda name: f"{name} next"
    )
    (second,) = identify_factory(entry, context)
    assert second.fingerprint() != first.fingerprint()


@pytest.mark.parametrize("name", ["hf-hub:a/b", "local-dir:/models/a"])
def test_a_name_that_stands_for_a_file_elsewhere_does_not_say_everything(
    context: Context, name: str
) -> None:
    """Its configuration may change below the same name, even where the weights are given."""
    (context.folder / "w.pt").write_bytes(b"weights")
    entry = TimmModel(source="timm", name=name, checkpoint="w.pt")
    assert [one.is_whole for one in identify_timm(entry, context)] == [False]
