"""`rag-compress compress --method xrag`: documents as soft tokens of the LLM that a projector was trained for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rag_compress.compressors.exactness import Exactness
from rag_compress.compressors.projector import ProjectorCompressor
from rag_compress.errors import InvalidInput
from rag_compress.prompts import PromptTemplate
from rag_compress.types import Prompt


def soft_compressor(
    projector: Path | None, limits: Mapping[str, Any], template: PromptTemplate, *, exact: bool
) -> ProjectorCompressor:
    """Returns the compressor with the projector of a folder and the encoder that it names.

    Raises:
        InvalidInput: No projector, or a limit that is for sentences.
        MissingExtra: torch is not installed.
    """
    if projector is None:
        raise InvalidInput("--method xrag needs --projector, a folder that `rag-compress train projector` wrote")
    unset = {"max_tokens": limits["max_tokens"], "keep_best": 0, "neighbours": 0}
    others = [f"--{name.replace('_', '-')}" for name, value in limits.items() if value != unset.get(name)]
    if others:
        raise InvalidInput(f"--method xrag chooses no sentences: leave out {', '.join(others)}; it takes --max-tokens")
    from rag_compress.models.soft_tokens.projector import MlpProjector

    loaded = MlpProjector.from_folder(projector)
    gate = Exactness() if exact else None
    return ProjectorCompressor(loaded, loaded.encoder(), limits["max_tokens"], gate, template=template)


def server_request(projector: Any, prompt: Prompt) -> dict[str, Any]:
    """Returns the body of a request to a vLLM server with the LLM that a projector was trained for."""
    from rag_compress.models.soft_tokens.soft_prompts import SoftPromptLLM

    return SoftPromptLLM.for_projector(projector).request(prompt)
