"""The loop that every training run goes through: update, measure, save; and exact resume from what was saved."""

from __future__ import annotations

import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.progress import Progress

from rag_compress.errors import InvalidInput
from rag_compress.models.classifier.network import torch
from rag_compress.training.checkpoint import NAME, plain, read_checkpoint, write_checkpoint

T = TypeVar("T")
_LOG = logging.getLogger(__name__)


class TrainingRun(ABC):
    """The state of a training run. Its step and its options, seed included, decide the next update.

    Attributes:
        network: What learns.
        optimizer: How.
        out: The folder for the checkpoint, the log, and at the end the model; made if it is not there.
        device: A torch device.
        step: How many updates were made.
        log: What was measured, oldest first.
        losses: The losses of the updates since the last measurement, each a number or a list.
    """

    network: torch.nn.Module
    optimizer: torch.optim.Optimizer

    def __init__(self, out: str, device: str) -> None:
        _check_device(device)
        self.out, self.device, self.step = Path(out), device, 0
        self.log: list[dict[str, Any]] = []
        self.losses: list[Any] = []
        there = next(place for place in (self.out, *self.out.parents) if place.exists())
        if not there.is_dir():  # better said before a model is loaded
            raise InvalidInput(f"{out} cannot be the folder for the model: {there} is a file")

    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """Returns what has to be the same for a run to go on from a checkpoint."""

    @abstractmethod
    def advance(self) -> None:
        """Makes one update."""

    @abstractmethod
    def measure(self) -> Mapping[str, Any]:
        """Returns figures of the network as it is, by name."""

    @abstractmethod
    def finish(self) -> Path:
        """Writes the model and its card; returns the folder."""

    def state(self) -> dict[str, Any]:
        """Returns what the next update depends on."""
        learned = {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}
        return {**learned, "step": self.step, "log": self.log, "run": plain(self.identity())}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state` returned."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.log = state["step"], state["log"]

    def train(self, steps: int, evaluate_every: int) -> Path:
        """Goes on until so many updates were made in all, and finishes; returns the folder.

        Raises:
            InvalidInput: The folder holds the checkpoint of another run.
        """
        self._resume()
        with Progress(transient=True) as progress:
            task = progress.add_task("training", total=steps, completed=self.step)
            while self.step < steps:
                self.advance()
                self.step += 1
                progress.update(task, completed=self.step)
                if self.step % evaluate_every == 0 or self.step == steps:
                    self._evaluate()
                    write_checkpoint(self.out / NAME, self.state())
        return self.finish()

    def set_rate(self, rate: float) -> None:
        """Sets the learning rate of the next update."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _resume(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        path = self.out / NAME
        if not path.exists():
            return
        state, own = read_checkpoint(path, self.device), plain(self.identity())
        known = state["run"] if isinstance(state.get("run"), dict) else {"data": None}
        if changed := ", ".join(sorted(name for name in own | known if own.get(name) != known.get(name))):
            raise InvalidInput(f"{path} is of a run with other options ({changed}): choose another folder")
        self.restore(state)

    def _evaluate(self) -> None:
        """Adds the mean losses since the last time, and the figures, to the log."""
        loss = np.mean(self.losses, axis=0).round(4).tolist() if self.losses else None
        self.losses = []
        self.log.append({"step": self.step, "time": round(time.time(), 1), "loss": loss, **self.measure()})
        _LOG.info("%s", self.log[-1])
        lines = "".join(json.dumps(line) + "\n" for line in self.log)
        (self.out / "log.jsonl").write_text(lines, encoding="utf-8")

    def figures(self) -> dict[str, Any]:
        """Returns the last measurement, without its time."""
        return {name: value for name, value in (self.log[-1] if self.log else {}).items() if name != "time"}


def _check_device(device: str) -> None:
    """Raises `InvalidInput` where torch cannot work on a device."""
    try:
        found = torch.device(device).type != "cuda" or torch.cuda.is_available()
    except (RuntimeError, TypeError) as error:
        raise InvalidInput(f"device must be cpu or cuda, not {device!r:.80}") from error
    if not found:
        raise InvalidInput(f"torch finds no GPU for the device {device!r}: take cpu, or install torch with CUDA")


def ramp(step: int, steps: int, warmup: float, decay: float = 1.0) -> float:
    """Returns the share of the highest learning rate at a step, counted from 0.

    It rises in a line over the first share `warmup` of the steps, and falls in one over the last share `decay`.
    """
    rise = (step + 1) / max(1.0, warmup * steps)
    fall = (steps - step) / max(1.0, decay * steps)
    return max(0.0, min(1.0, rise, fall))


def half(device: str, *, bf16: bool | None = None) -> Any:
    """Returns the context of a forward pass: products in bfloat16 or not, by default on a GPU only."""
    if bf16 is None:
        bf16 = device.startswith("cuda")
    return torch.autocast(device.split(":")[0], torch.bfloat16) if bf16 else nullcontext()


def spread(items: Sequence[T], limit: int) -> list[T]:
    """Returns so many items at most, evenly from first to last."""
    if len(items) <= limit:
        return list(items)
    return [items[int(i)] for i in np.linspace(0, len(items) - 1, limit)]
