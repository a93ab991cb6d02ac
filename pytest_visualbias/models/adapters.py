"""Adapters (LoRA and its kin) that peft saved, merged into the network they were trained on."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import peft
import safetensors

from pytest_visualbias.errors import EncoderError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["merged"]

WEIGHTS = "adapter_model.safetensors"
INNER = "base_model.model."


def merged(model: Any, folder: Path, *, heads: tuple[str, ...]) -> tuple[Any, dict[str, Any]]:
    """Merge an adapter into a network, whose modules then have the names that they had before.

    Parameters
    ----------
    model : PreTrainedModel
        Taken over.
    folder : Path
        With ``adapter_config.json`` and the weights in safetensors.
    heads : tuple of str
        What classifiers are called.

    Returns
    -------
    tuple
        The network, and facts for the report.

    Raises
    ------
    EncoderError
        For an adapter that cannot be read, or whose weights are not all of this network's.
    """
    if not (folder / WEIGHTS).is_file():
        raise EncoderError(
            f"the adapter {folder} has no {WEIGHTS}; name the folder that save_pretrained of peft "
            "wrote, with safe_serialization"
        )
    try:
        with warnings.catch_warnings():
            # Of weights that are not there peft tells by a warning alone.
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message=".*missing adapter keys.*")
            config = peft.PeftConfig.from_pretrained(str(folder))
            _check_code(config, folder)
            _check_modules(model, folder)
            adapted = peft.PeftModel.from_pretrained(model, str(folder), config=config)
            whole = adapted.merge_and_unload(safe_merge=True)
    except EncoderError:
        raise
    except Exception as error:  # noqa: BLE001 - peft raises whatever it meets
        reason = " ".join(str(error).split()) or type(error).__name__
        raise EncoderError(
            f"the adapter {folder} does not fit the network ({type(error).__name__}: "
            f"{reason[:300]}); name the model that it was trained on, or save it again"
        ) from None
    saved = tuple(getattr(config, "modules_to_save", None) or ())
    return whole, {
        "kind": str(getattr(config.peft_type, "value", config.peft_type)),
        "saves_classifier": any(name in heads for name in saved),
    }


def _check_code(config: Any, folder: Path) -> None:
    if getattr(config, "megatron_config", None):
        raise EncoderError(
            f"the adapter {folder} asks for a module of Python ('megatron_config'), which could "
            "run code; remove the key and save it again"
        )


def _check_modules(model: Any, folder: Path) -> None:
    """Refuse an adapter with weights that would go nowhere."""
    modules = {name for name, _ in model.named_modules()}
    with safetensors.safe_open(folder / WEIGHTS, "pt") as weights:
        names = [name.removeprefix(INNER) for name in weights.keys()]  # noqa: SIM118 - no mapping
    owners = {name.partition(".lora_")[0] for name in names if ".lora_" in name}
    if unread := next((name for name in sorted(owners) if name not in modules), ""):
        raise EncoderError(
            f"the adapter {folder} has weights for {unread}, which the network has not; name the "
            "model that it was trained on"
        )
