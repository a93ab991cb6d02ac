"""In a project with habits of its own: strict settings, fixtures, other tests, odd names."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from tests.plugin.conftest import one_test, sentences

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import Project

FLAG = "--visualbias"


@pytest.fixture
def neutral(project: Project) -> Project:
    """A gate that passes, beside a test of the project's own."""
    project.pair()
    project.spec(one_test("one", tags="[gender, skin-tone]"))
    project.pytester.makepyfile("def test_other(): pass")
    return project


@pytest.mark.slow
def test_warnings_may_be_errors(neutral: Project) -> None:
    result = neutral.process(FLAG, "-Werror")
    result.assert_outcomes(passed=3)
    assert result.ret == 0


def test_markers_and_settings_may_be_strict(neutral: Project) -> None:
    neutral.pytester.makeini("[pytest]\naddopts = --strict-markers --strict-config")
    neutral.gate("-m", "gender").assert_outcomes(passed=2, deselected=1)
    neutral.gate("-m", "skin-tone").assert_outcomes(passed=2, deselected=1)
    assert neutral.gate().ret == 0


def test_the_marker_is_declared(neutral: Project) -> None:
    lines = neutral.run("--markers").outlines
    assert "@pytest.mark.visualbias: an item of a bias spec" in lines


def test_autouse_fixtures_of_the_project_do_not_disturb(neutral: Project) -> None:
    neutral.pytester.makeconftest(
        """
        import pytest

        @pytest.fixture(autouse=True)
        def everywhere(request):
            yield request.function

        @pytest.fixture(autouse=True, scope="session")
        def once():
            yield
        """
    )
    neutral.gate().assert_outcomes(passed=3)


def test_hooks_that_expect_functions_of_python_see_plain_items(neutral: Project) -> None:
    neutral.pytester.makeconftest(
        """
        def pytest_collection_modifyitems(items):
            items.sort(key=lambda item: (item.get_closest_marker("visualbias") is None, item.name))

        def pytest_itemcollected(item):
            assert item.location[1] is not None
        """
    )
    neutral.gate().assert_outcomes(passed=3)


@pytest.mark.parametrize(
    "name", ["männer und frauen", "a [b] c", "100% (half)", "x/y", "one: two", "花"]
)
def test_a_test_may_have_any_name(project: Project, name: str) -> None:
    project.pair(after=1.0)
    project.spec(one_test(f'"{name}"'))
    result = project.gate("--junitxml=junit.xml")
    assert result.ret == 1
    assert project.row(name)["nodeid"] == f"bias_specs/x.bias.yaml::after::{name}[pooled]"
    assert f"FAILED bias_specs/x.bias.yaml::after::{name}[pooled] - " in sentences(result)
    project.gate("--lf").assert_outcomes(failed=1)


def test_a_model_may_have_any_name(project: Project) -> None:
    project.pair(after=1.0)
    project.spec(
        models='\n  "v1.0 [best]": {source: embeddings, path: ../after.safetensors}\n',
    )
    result = project.gate()
    assert list(project.outcomes()) == ["v1.0 [best]::one[pooled]"]
    assert result.ret == 1
    project.gate("--lf").assert_outcomes(failed=1)


def test_two_specs_have_a_table_each_and_their_own_families(project: Project) -> None:
    project.pair()
    project.spec()
    project.spec(one_test("one"), one_test("two"), file="bias_specs/y.bias.yaml")
    text = sentences(project.gate())
    assert "bias_specs/x.bias.yaml :: after" in text
    assert "bias_specs/y.bias.yaml :: after" in text
    sizes = {row["spec"]: row["family_size"] for row in project.report()["results"]}
    assert sizes == {"bias_specs/x.bias.yaml": 1, "bias_specs/y.bias.yaml": 2}


def test_the_native_tables_of_pyproject_hold_the_options(project: Project) -> None:
    project.pytester.makepyprojecttoml(
        """
        [tool.pytest]
        visualbias = true
        visualbias_strict = true
        visualbias_precision = "fp32"
        visualbias_model = ["after=after.safetensors"]
        """
    )
    project.pair(after=0.15)
    project.spec()
    assert project.run().ret == 1


def test_a_plugin_that_retries_a_failure_gets_the_same_one(project: Project) -> None:
    # As pytest-retry does it: it resets the fixtures, sets the item up and calls it again.
    project.pair(after=1.0)
    project.spec(one_test("one"))
    project.pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            if report.when == "call" and report.failed:
                item._initrequest()
                item.ihook.pytest_runtest_setup(item=item)
                again = pytest.CallInfo.from_call(item.runtest, when="call")
                assert str(again.excinfo.value) == str(call.excinfo.value)
                report.user_properties = list(item.user_properties)
            return report
        """
    )
    result = project.gate("--junit-xml=out.xml")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, failed=1)
    assert project.row()["outcome"] == "fail"
    named = [name for name, _ in properties(project.path / "out.xml")]
    assert len(named) == len(set(named))


def properties(path: Path) -> list[tuple[str, str]]:
    """Return what a JUnit file holds of the item that failed."""
    cases = ET.parse(path).getroot().iter("testcase")
    failed = next(case for case in cases if case.find("failure") is not None)
    return [(one.attrib["name"], one.attrib["value"]) for one in failed.iter("property")]
