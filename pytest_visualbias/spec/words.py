"""A concept that is words: texts, and the templates that they stand in."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from pytest_visualbias.spec.values import Strict

__all__ = ["PLACE", "ConceptWords"]

# Where a word stands in a template.
PLACE = "{}"


def _word(value: str) -> str:
    if not value:
        raise ValueError("must say something")
    if value != value.strip() or not value.isprintable():
        raise ValueError("must be text in one line without blanks around it")
    return value


def _template(value: str) -> str:
    if value.count(PLACE) != 1 or not value.isprintable():
        raise ValueError(f"must be text in one line with one '{PLACE}', where the word stands")
    return value


# For editors.
FILLED = Field(json_schema_extra={"minLength": 1})
Word = Annotated[str, AfterValidator(_word), FILLED]
Template = Annotated[str, AfterValidator(_template), FILLED]


class ConceptWords(Strict):
    """A concept that a model reads as texts: one word is one stimulus.

    Attributes
    ----------
    text : tuple of str
        The words; each may be a whole sentence.
    templates : tuple of str
        What each word is put into, at ``{}``. The vector of a word is the mean over them.
    """

    text: Annotated[tuple[Word, ...], Field(strict=False, min_length=1)]
    templates: Annotated[tuple[Template, ...], Field(strict=False, min_length=1)] = (PLACE,)

    def prompts(self, word: str) -> tuple[str, ...]:
        """Return what a model reads for a word, a text for each template."""
        return tuple(template.replace(PLACE, word) for template in self.templates)
