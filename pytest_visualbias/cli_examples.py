"""What every command says below its options: examples, and its exit codes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EPILOGS", "add_examples"]

EPILOGS: Mapping[str, str] = {
    "check": """examples:
  visualbias check bias_specs/*.bias.yaml
  visualbias check --strict --stimuli /data/stimuli bias_specs/gender.bias.yaml

The exit code is 1 where anything is wrong with any of them.
""",
    "layers": """example:
  visualbias layers bias_specs/gender.bias.yaml after

The exit code is 1 where the model cannot be loaded, 2 where the spec has no such model.
""",
    "suites": """examples:
  visualbias suites
  visualbias suites ieat

The exit code is 1 where a suite of yours is faulty, 2 for an unknown one.
""",
    "fetch": """examples:
  visualbias fetch ieat --dry-run
  visualbias fetch ieat --accept-licence --only gender
  VISUALBIAS_DATA=/data/bias visualbias fetch ieat

The exit code is 1 where something is missing or is not what was published, 2 for a wrong call and
a licence that is not accepted, 130 where it was interrupted: the same command goes on from there.
""",
    "schema": """examples:
  visualbias schema > bias_specs/bias.schema.json
  visualbias schema --report > report.schema.json

With '# yaml-language-server: $schema=bias.schema.json' as its first line, editors complete a spec.
""",
    "report": """examples:
  visualbias report report.json
  visualbias report report.json --md report.md --csv report.csv
  visualbias report report.json --md - | less

The exit code is 2 for a wrong call, a report that cannot be used and a file that cannot be written.
""",
    "compare": """examples:
  visualbias compare main.json branch.json
  visualbias compare main.json branch.json --tolerance 0.05 --json

The exit code is 1 where the second report is worse, 2 for one that cannot be used.
""",
    "embed": """examples:
  visualbias embed bias_specs/*.bias.yaml --cache /shared/embeddings
  visualbias embed bias_specs/gender.bias.yaml --model after --device cuda
  visualbias embed bias_specs/*.bias.yaml --engine ray --address 10.0.0.7:6379 --gpus-per-task 0.5

Embeddings that are there already are not made again, so a call that was cut off goes on where it
was, and several may run at once. The gate is then a run of pytest with the same cache. The exit
code is 1 where a spec is faulty, or a model or an image cannot be embedded.
""",
    "probe": """examples:
  visualbias probe bias_specs/gender.bias.yaml --data data/val
  visualbias probe bias_specs/gender.bias.yaml --data data/val --model after --json accuracy.json

The exit code is 1 where something cannot be measured.
""",
    "cache": """examples:
  visualbias cache info
  visualbias cache prune --max-size 2GB
  visualbias cache prune --older-than 30d --cache /data/cache

The exit code is 1 where there is no cache, or some of it cannot be removed, 2 for a wrong call.
""",
}


def add_examples(commands: Mapping[str, argparse.ArgumentParser]) -> None:
    """Put examples below the options of every command that brings none itself."""
    for name, parser in commands.items():
        if parser.epilog is None and name in EPILOGS:
            parser.epilog = EPILOGS[name]
            parser.formatter_class = argparse.RawDescriptionHelpFormatter
