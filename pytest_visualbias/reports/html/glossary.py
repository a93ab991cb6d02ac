"""Define the terms of the page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Term:
    """A number, and what it means."""

    name: str
    text: str


# By the key that the numbers of a result refer to.
GLOSSARY: dict[str, Term] = {
    "effect": Term(
        name="effect",
        text=(
            "The effect size d that is judged, in standard deviations. 0 is none, 0.8 is commonly "
            "called large, about 2 is the most there can be. Of an intra-similarity it is a mean "
            "cosine, of an outcome-gap the gap itself."
        ),
    ),
    "interval": Term(
        name="interval",
        text=(
            "Where the effect may lie if other images of the same kinds are taken, targets and "
            "attributes both."
        ),
    ),
    "sides": Term(
        name="targets, attributes",
        text=(
            "The test is made twice, with targets and attributes exchanged, and the smaller "
            "effect is judged: where a network separates two sets well, one side alone comes near "
            "2 for any sets on the other."
        ),
    ),
    "gap": Term(
        name="gap",
        text=(
            "The same difference in cosines, before it is scaled. Of an outcome-gap: the rate of X "
            "less that of Y."
        ),
    ),
    "rates": Term(
        name="rates",
        text=(
            "What the classifier made of the images of each group: how many that are not of the "
            "class it takes for it (false positive rate), how many that are (true positive rate), "
            "how many at all, or its mean probability."
        ),
    ),
    "detectable": Term(
        name="smallest detectable effect",
        text=(
            "The smallest true effect (of an outcome-gap: gap) that is found significant in 80 % "
            "of samples of so many images. Smaller ones may pass: a pass is no evidence against "
            "them."
        ),
    ),
    "p": Term(
        name="p",
        text=(
            "The chance of such an effect where there is none: the largest of those that apply. "
            "Labels of targets are permuted, then those of attributes; Welch's t joins them where "
            "two sets differ in size."
        ),
    ),
    "bracket": Term(
        name="proven bracket",
        text="Where p was not counted exactly, it lies between these two.",
    ),
    "adjusted": Term(
        name="p adjusted",
        text=(
            "p corrected over all declared tests of the spec, model and layer, whatever was "
            "selected."
        ),
    ),
    "growth": Term(
        name="growth",
        text=(
            "How much larger the absolute effect is than in the model before; negative where it "
            "shrank."
        ),
    ),
    "shift": Term(
        name="shift",
        text="The change of the effect with its sign.",
    ),
    "excess": Term(
        name="excess",
        text="How much larger the absolute effect is than in an untrained network.",
    ),
    "limits": Term(
        name="limits",
        text="From which on the test fails, where the evidence is there.",
    ),
    "trials": Term(
        name="trials",
        text="Several finetunings of one recipe, averaged; the worst one is named.",
    ),
    "series": Term(
        name="training run",
        text=(
            "The checkpoints of one training run in their order, each measured like a single "
            "model. Those that are shown and not judged are corrected for nothing."
        ),
    ),
    "influence": Term(
        name="most influential images",
        text=(
            "The effect of the judged side, computed anew without each image in turn. If one "
            "image makes the effect, look at that image before you blame the model."
        ),
    ),
}
