"""Prompts with soft tokens for an LLM: as `inputs_embeds` for transformers, or as the `prompt_embeds` of a vLLM server.

The text of a prompt is cut at its placeholders and the pieces are tokenized one by one, so no token has to be added to
the vocabulary, and nothing that a document says can be taken for a soft token.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np

from rag_compress.errors import InvalidInput, importing
from rag_compress.models.soft_tokens.projector import MlpProjector
from rag_compress.models.summarizers.generation import tokenizer_as_saved
from rag_compress.tokens import without_surrogates
from rag_compress.types import Prompt

with importing("transformers", "torch", "An LLM that reads soft tokens"):
    import torch
    from transformers import AutoModelForCausalLM

SOFT = -1
"""Stands for a soft token among token ids."""


class SoftBatch(NamedTuple):
    """Prompts as an LLM reads them; the fields are arguments of its forward pass and of `generate`.

    Attributes:
        inputs_embeds: `(prompts, tokens, hidden)`, 0 on padding.
        attention_mask: int64 `(prompts, tokens)`, 0 on padding.
        position_ids: int64 `(prompts, tokens)`, counted from each prompt's first token.
    """

    inputs_embeds: Any
    attention_mask: Any
    position_ids: Any


@dataclass(frozen=True, eq=False)
class SoftPromptLLM:
    """A causal LLM that reads prompts with soft tokens.

    Attributes:
        model: Any causal LM of transformers.
        tokenizer: Its tokenizer.
        chat: Whether a prompt is the user's turn in the tokenizer's chat template; otherwise it is read as it is.
        padding_side: `left` to generate; `right` where logits are read off.
        name: What the LLM is called on a server.
    """

    model: Any = field(repr=False)
    tokenizer: Any = field(repr=False)
    chat: bool = True
    padding_side: str = "left"
    name: str = ""

    @classmethod
    def load(cls, name: str, device: str | None = None, dtype: Any = None, *, chat: bool = True) -> SoftPromptLLM:
        """Returns a causal LM by its name or folder; on a CPU in float32, otherwise as it was saved.

        Raises:
            InvalidInput: There is no such model, or no such device.
        """
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        dtype = dtype or (torch.float32 if device == "cpu" else "auto")
        try:
            model = AutoModelForCausalLM.from_pretrained(name, dtype=dtype).to(device).eval()
            return cls(model, tokenizer_as_saved(name), chat, name=name)
        except (OSError, ValueError, KeyError, RuntimeError, AssertionError) as error:  # the last two: of devices
            raise InvalidInput(f"Cannot load the LLM {name!r} on {device!r}: {error}") from error

    @classmethod
    def for_projector(cls, projector: MlpProjector, device: str | None = None) -> SoftPromptLLM:
        """Returns the LLM that a projector's config names, after checking that it is the one trained for."""
        llm = cls.load(projector.config.llm, device, chat=projector.config.chat)
        projector.check_llm(llm.model.get_input_embeddings())
        return llm

    def token_ids(self, prompt: Prompt) -> list[int]:
        """Returns the ids of a prompt's tokens, with `SOFT` for each soft token.

        Raises:
            InvalidInput: There are not as many placeholders as arrays, or no chat template.
        """
        text = without_surrogates(prompt.text)
        if self.chat:
            if not self.tokenizer.chat_template:
                raise InvalidInput(
                    "The LLM's tokenizer has no chat template: pass chat=False (--no-chat) to give prompts as they are"
                )
            turn = [{"role": "user", "content": text}]
            text = self.tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
        pieces = text.split(prompt.placeholder) if prompt.soft_tokens else [text]
        if len(pieces) != len(prompt.soft_tokens) + 1:
            places, arrays = len(pieces) - 1, len(prompt.soft_tokens)
            raise InvalidInput(
                f"The prompt has {places} placeholders {prompt.placeholder} for {arrays} arrays of soft tokens"
            )
        ids = [] if self.chat else self._first()
        for piece, soft in zip_longest(pieces, prompt.soft_tokens):
            ids += self.tokenizer(piece, add_special_tokens=False, verbose=False)["input_ids"]
            ids += [SOFT] * (0 if soft is None else len(soft))
        return ids

    def _first(self) -> list[int]:
        """Returns the token that a text begins with, if the tokenizer puts one there."""
        ids: list[int] = self.tokenizer("a", verbose=False)["input_ids"]
        return ids[:1] if ids[0] == self.tokenizer.bos_token_id else []

    def batch(self, prompts: Sequence[Prompt]) -> SoftBatch:
        """Returns prompts as one padded batch.

        Raises:
            InvalidInput: No prompt, one without a token, or soft tokens of another number or length than there must be.
        """
        rows = [self.token_ids(prompt) for prompt in prompts]
        if not rows or not all(rows):
            raise InvalidInput("A batch needs prompts, each with at least one token")
        soft = [array for prompt in prompts for array in prompt.soft_tokens]
        return self.embed(rows, torch.from_numpy(np.concatenate(soft)) if soft else None)

    def embed(self, rows: Sequence[Sequence[int]], soft: Any) -> SoftBatch:
        """Returns token ids as one padded batch, the rows of `soft` `(soft tokens, hidden)` in the places of `SOFT`."""
        table = self.model.get_input_embeddings()
        width = max(map(len, rows))
        left = self.padding_side == "left"
        gaps = [[0] * (width - len(row)) for row in rows]
        ids = torch.tensor([[*g, *r] if left else [*r, *g] for r, g in zip(rows, gaps, strict=True)])
        real = [[*g, *[1] * len(r)] if left else [*[1] * len(r), *g] for r, g in zip(rows, gaps, strict=True)]
        mask = torch.tensor(real, device=table.weight.device)
        ids = ids.to(table.weight.device)
        embeds = table(ids.clamp(min=0)) * mask[..., None].to(table.weight.dtype)
        if soft is not None:
            if soft.shape[-1] != embeds.shape[-1]:
                raise InvalidInput(f"The LLM reads embeddings of length {embeds.shape[-1]}, not {soft.shape[-1]}")
            embeds = embeds.index_put(torch.where(ids == SOFT), soft.to(embeds))
        return SoftBatch(embeds, mask, (mask.cumsum(1) - 1).clamp(min=0))

    def generate(self, prompts: Sequence[Prompt], max_new_tokens: int = 64, **options: Any) -> list[str]:
        """Returns the LLM's answers; by default the likeliest token at each step.

        Args:
            prompts: What to answer.
            max_new_tokens: The most tokens of an answer.
            options: Of transformers' `generate`.
        """
        if self.padding_side != "left":
            raise InvalidInput("To generate, prompts must be padded on the left: padding_side='left'")
        pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id
        batch = self.batch(prompts)
        with torch.inference_mode():
            rows = self.model.generate(
                inputs_embeds=batch.inputs_embeds,
                attention_mask=batch.attention_mask,
                **{"max_new_tokens": max_new_tokens, "do_sample": False, "pad_token_id": pad, **options},
            )
        answers: list[str] = self.tokenizer.batch_decode(rows, skip_special_tokens=True)
        return answers

    def prompt_embeds(self, prompt: Prompt) -> str:
        """Returns the prompt as vLLM's completions API takes it: a saved `(tokens, hidden)` tensor in base64.

        The server has to be started with `--enable-prompt-embeds`; it applies no chat template to these.
        """
        buffer = io.BytesIO()
        torch.save(self.batch([prompt]).inputs_embeds[0].detach().cpu().contiguous().clone(), buffer)
        return base64.b64encode(buffer.getvalue()).decode("ascii")

    def request(self, prompt: Prompt, **options: Any) -> dict[str, Any]:
        """Returns the body of a request to `/v1/completions`; `options` such as `max_tokens` stand beside it."""
        return {"model": self.name, "prompt_embeds": self.prompt_embeds(prompt), **options}
