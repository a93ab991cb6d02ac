"""Whatever stands in a spec: it is checked, or every fault is a sentence with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pytest_visualbias.errors import EncoderError, SpecError, UsageError
from pytest_visualbias.evaluation.preflight import preflight
from pytest_visualbias.models.encoder import Context, find_source
from pytest_visualbias.spec.model_entries import FactoryModel, TimmModel
from pytest_visualbias.spec.overrides import parse_override
from pytest_visualbias.spec.parser import SpecFile, read_spec
from pytest_visualbias.spec.suites import read_suite
from tests.fuzz.effort import PLACE, SENTENCE, bounded, cases, in_time
from tests.fuzz.mutations import WORDS, edits, spoilt, spoilt_text, torn
from tests.fuzz.specs import KEYS, SUITE, valid_specs, valid_suites

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.property


class Plain(yaml.SafeDumper):
    """Writes a value out wherever it stands."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def dumped(data: Any, *, is_flow: bool | None = None) -> str:  # noqa: ANN401 - plain data
    """Return YAML."""
    text: str = yaml.dump(
        data,
        Dumper=Plain,
        allow_unicode=True,
        default_flow_style=is_flow,
        sort_keys=False,
        width=10_000,
    )
    return text


def texts(
    whole: st.SearchStrategy[Any],
) -> st.SearchStrategy[str]:
    """Return texts of spoilt data, themselves spoilt now and then."""
    data = spoilt(whole, KEYS)
    plain = st.builds(dumped, data, is_flow=st.sampled_from((None, None, True, False)))
    return plain | plain | spoilt_text(plain)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, vectors that are none, and a suite."""
    path: Path = tmp_path_factory.mktemp("specs")
    for shade, name in enumerate(("m", "f", "c", "g", "old", "young")):
        (path / name).mkdir()
        for index in range(5):
            Image.new("L", (2, 2), 20 * shade + index).save(path / name / f"{index}.png")
    (path / "vectors.npz").write_bytes(b"none")
    suite = valid_suites().filter(lambda one: "layers" in one)
    (path / SUITE).write_text(dumped(_first(suite)), encoding="utf-8")
    return path


def _first(strategy: st.SearchStrategy[Any]) -> Any:  # noqa: ANN401 - plain data
    found: list[Any] = []

    @cases(1)
    @given(strategy)
    def take(value: Any) -> None:  # noqa: ANN401 - plain data
        found.append(value)

    take()
    return found[0]


def read(folder: Path, content: bytes, **options: Any) -> SpecFile | None:  # noqa: ANN401
    """Return the spec; None where its faults are said as they have to be."""
    path = folder / "x.bias.yaml"
    path.write_bytes(content)
    with in_time():
        try:
            return read_spec(path, file="x.bias.yaml", **options)
        except SpecError as error:
            bounded(error, PLACE)
        except UsageError as error:
            bounded(error, SENTENCE)
    return None


@cases(40)
@given(data=valid_specs(), is_flow=st.sampled_from((None, True, False)))
def test_a_spec_that_keeps_the_rules_is_read(
    folder: Path, data: dict[str, Any], is_flow: bool | None
) -> None:
    path = folder / "valid.bias.yaml"
    path.write_text(dumped(data, is_flow=is_flow), encoding="utf-8")
    found = read_spec(path, file="valid.bias.yaml")
    assert {*data["models"]} == {*found.spec.models}
    assert {test["name"] for test in data["tests"]} <= {test.name for test in found.spec.tests}


@cases(150)
@given(text=texts(valid_specs()), has_baseline=st.booleans())
def test_a_spoilt_spec_is_read_or_its_faults_have_places(
    folder: Path, text: str, has_baseline: bool
) -> None:
    """Then its sets and checkpoints are looked for, and what is wrong with them is told, too."""
    content = text.encode("utf-8", "surrogatepass")
    file = read(folder, content, has_baseline=has_baseline)
    if file is None:
        return
    with in_time():
        try:
            preflight(file, stimuli=None)
        except SpecError as error:
            bounded(error, PLACE)
        for entry in file.spec.models.values():
            if isinstance(entry, TimmModel | FactoryModel):
                identified(entry, Context(folder=folder, project=folder))


def identified(entry: TimmModel | FactoryModel, context: Context) -> None:
    try:
        assert find_source(entry.source).identify(entry, context)
    except EncoderError as error:
        bounded(error, SENTENCE)


@cases(60)
@given(data=valid_specs(), changes=edits())
def test_torn_bytes_are_read_or_their_faults_have_places(
    folder: Path, data: dict[str, Any], changes: list[Any]
) -> None:
    read(folder, torn(dumped(data).encode(), changes))


@cases(40)
@given(
    text=texts(valid_specs()),
    name=st.sampled_from(("before", "after", "new", *WORDS)),
    what=st.sampled_from(("a.pt", "timm:x", "factory:a:b", "factory:a", "embeddings:", *WORDS)),
)
def test_models_of_the_command_line_are_put_in_or_refused(
    folder: Path, text: str, name: str, what: str
) -> None:
    try:
        override = parse_override(name, what, folder)
    except UsageError as error:
        bounded(error, SENTENCE)
        return
    read(folder, text.encode("utf-8", "surrogatepass"), overrides=(override,))


@cases(60)
@given(text=texts(valid_suites()))
def test_a_spoilt_suite_is_read_or_its_faults_have_places(folder: Path, text: str) -> None:
    path = folder / "spoilt.suite.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with in_time():
        try:
            read_suite(path, file="spoilt.suite.yaml")
        except SpecError as error:
            bounded(error, PLACE)
