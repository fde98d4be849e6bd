"""What a training run needs to go on where it broke off: written whole or not at all, read without running its code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from rag_compress.errors import InvalidInput
from rag_compress.models.classifier.network import torch
from rag_compress.whole import written_whole

NAME = "checkpoint.pt"


def read_checkpoint(path: str | Path, device: str) -> dict[str, Any]:
    """Returns the state in a checkpoint file.

    Raises:
        InvalidInput: The file cannot be read as a checkpoint.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (OSError, EOFError, RuntimeError, UnpicklingError) as error:
        raise InvalidInput(f"{path} cannot be read as a checkpoint: {error!r:.100}") from error
    return state


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns options as JSON has them: a path becomes its text, and numpy's numbers become Python's."""
    simple: dict[str, Any] = json.loads(json.dumps(dict(values), default=lambda v: getattr(v, "item", v.__str__)()))
    return simple


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Writes a state into a checkpoint file, whole or not at all."""
    with written_whole(path) as file:
        torch.save(dict(state), file)
