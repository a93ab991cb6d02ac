"""Write the text of a first spec."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from pytest_visualbias.cli.starting.choosing import STAND_IN
from pytest_visualbias.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_visualbias.cli.starting.choosing import Chosen

SPEC = "bias_specs/first.bias.yaml"
SCHEMA = "bias_specs/bias.schema.json"
WIDTH = 98
MODELINE = "# yaml-language-server: $schema=bias.schema.json"
OPENING = """\
Written by 'visualbias init', to be changed. 'pytest --visualbias' measures every model below on
drawings that come with pytest-visualbias: circles, triangles and squares on warm and cold grounds.
That shows that the models, the images and the gate work together. It says nothing about people:
for that see the end of this file.
"""
TESTS = """\
suite:
  name: drawings
  # The positive control: squares on warm grounds lie nearer to warm grounds. A network that does
  # not see that makes the other tests invalid. These are reported, and fail nothing yet:
  # 'visualbias suggest {spec}' proposes max_effect, max_growth and
  # max_shift from what is measured.
  limits: {{min_effect: 0.5}}
"""
UNGATED = """\
# Nothing here fails: there is no model of yours yet. Once there is,
# suite: {name: drawings, limits: {min_effect: 0.5}}
# demands the positive control, without which the other tests say nothing.
suite: drawings
"""
PEOPLE = """\
# Tests about people need photographs of people, which do not ship. 'visualbias fetch ieat' brings
# those of Steed & Caliskan (2021), after their licence. Then this is a spec of its own, such as
# bias_specs/gender.bias.yaml, and 'visualbias suggest' proposes its limits:
#
# visualbias: 1
# title: Gender with career and science, as in iEAT
# models:
{models}
# suite: {{name: ieat, tags: [gender], tests: [Insect-Flower], limits: {{min_effect: 0.5}}}}
#
# Pictures of your own are folders of images. In place of the suite:
#
# stimuli: ../stimuli
# concepts: {{woman: woman, man: man, nurse: nurse, surgeon: surgeon}}
# tests:
#   - name: gender-hospital
#     kind: ieat
#     targets: {{X: woman, Y: man}}
#     attributes: {{A: nurse, B: surgeon}}
"""


def first_spec(chosen: Chosen, *, has_schema: bool = False) -> str:
    """Return the text of a spec with these models."""
    lines = [*([MODELINE] if has_schema else []), *_comment(OPENING)]
    lines += ["visualbias: 1", "title: A first look, on drawings", "", "models:"]
    lines += [*_models(chosen), ""]
    is_gated = chosen.entries[0].name != STAND_IN
    text = "\n".join(lines) + "\n" + (TESTS.format(spec=SPEC) if is_gated else UNGATED)
    models = "\n".join(f"#   {entry.name}: {entry.text}" for entry in chosen.entries)
    return f"{text}\n{PEOPLE.format(models=models)}"


def _models(chosen: Chosen) -> Iterator[str]:
    if not chosen.has_before and chosen.architecture and chosen.entries[0].name != STAND_IN:
        yield from _comment(
            "With a model before, growth is measured, too. Its own checkpoint, or timm's weights, "
            "which are downloaded once:",
            indent="  ",
        )
        yield f"  # before: {{source: timm, name: {chosen.architecture}}}"
    if chosen.architecture and chosen.entries[0].name != STAND_IN:
        yield from _comment(
            f"Images are prepared as timm says for {chosen.architecture}. A network that was "
            "finetuned at another size needs it here, in every model: 'transform: {size: 64}'.",
            indent="  ",
        )
    for entry in chosen.entries:
        yield from _comment(f"{entry.name}: {printable(entry.why)}", indent="  ")
        yield f"  {entry.name}: {entry.text}"
    if chosen.needs:
        yield from _comment(f"To do: {printable(chosen.needs)}", indent="  ")


def _comment(text: str, indent: str = "") -> list[str]:
    start = f"{indent}# "
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=start,
        subsequent_indent=start,
        break_long_words=False,
        break_on_hyphens=False,
    )
