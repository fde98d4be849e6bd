"""A summarizer that writes with the words of its source: a pretrained encoder and a small decoder that points.

transformers loads it like any other sequence-to-sequence checkpoint (importing this file registers it), so it is
trained, saved and run by the same code. It suits small data: nothing has to be learned of the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rag_compress.errors import InvalidInput, importing

with importing("transformers", "torch", "The copying summarizer"):
    import torch
    from torch import Tensor, nn
    from transformers import (
        AutoConfig,
        AutoModel,
        AutoModelForSeq2SeqLM,
        AutoTokenizer,
        GenerationMixin,
        PretrainedConfig,
        PreTrainedModel,
    )
    from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput

__all__ = ["CopyingConfig", "CopyingModel", "seq2seq_model", "torch"]

_SAME_PAIR = 8.0
"""How many times more a place counts where the token before matches too."""
_LEAST = 1e-8


class CopyingConfig(PretrainedConfig):  # type: ignore[misc]  # transformers is not type-checked
    """The shape of a `CopyingModel`.

    Attributes:
        encoder: The configuration of the encoder, as a mapping.
        decoder_layers: How many layers the decoder has; their width and heads are the encoder's.
        max_positions: The longest summary, in tokens.
    """

    model_type = "rag_compress_copying"
    is_composition = False

    def __init__(
        self,
        encoder: dict[str, Any] | None = None,
        decoder_layers: int = 2,
        max_positions: int = 256,
        **options: Any,
    ) -> None:
        self.encoder = encoder or {}
        self.decoder_layers = decoder_layers
        self.max_positions = max_positions
        options.setdefault("is_encoder_decoder", True)
        super().__init__(**options)


@dataclass
class SourceStates(BaseModelOutput):  # type: ignore[misc]
    """What the decoder reads: the encoder's states, and the tokens that it may copy."""

    input_ids: Any = None


class CopyingModel(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """Points at the source tokens to copy; the probability of a token is the sum over the places where it stands.

    With source tokens x_i, their states h_i, and the summary so far y_1 .. y_(t-1):

        m_ti      share of place i among the places of y_(t-1); those that follow y_(t-2) count more
        s_t       decoder(y_(t-1), sum over i of m_ti h_i), attending to s_1 .. s_(t-1) and to h
        a_ti      q(s_t) . k(h_i) + c(s_t) m_t(i-1) + b(s_t) sum over j >= i of m_tj
        p(y_t)    sum over i with x_i = y_t of softmax(a_t)_i

    c says how much to go on where the last token was copied, b how much to go back. The source ends in the token that
    ends a summary, so that stopping is copying too.

    Source: pointer networks (Vinyals et al., 2015), CopyNet's selective read (Gu et al., 2016), and the sum over places
    of the pointer-generator (See et al., 2017), without its generator.
    """

    config_class = CopyingConfig
    main_input_name = "input_ids"
    _supports_cache_class = False

    def __init__(self, config: CopyingConfig) -> None:
        super().__init__(config)
        shape = AutoConfig.for_model(**config.encoder)
        hidden, heads = shape.hidden_size, shape.num_attention_heads
        self.encoder = SourceEncoder(AutoModel.from_config(shape))
        self.position = nn.Embedding(config.max_positions, hidden)
        self.enter = nn.Linear(2 * hidden, hidden)
        layer = nn.TransformerDecoderLayer(hidden, heads, 2 * hidden, dropout=0.1, batch_first=True, norm_first=True)
        self.decoder = nn.TransformerDecoder(layer, config.decoder_layers, norm=nn.LayerNorm(hidden))
        self.point = nn.Linear(hidden, hidden)
        self.place = nn.Linear(hidden, hidden)
        self.moves = nn.Linear(hidden, 2)
        self.post_init()

    def _init_weights(self, module: Any) -> None:
        """Leaves the weights as torch makes them."""

    @classmethod
    def from_encoder(cls, name: str, decoder_layers: int = 2) -> CopyingModel:
        """Returns a model around a pretrained encoder, by name or folder, with a new decoder.

        Raises:
            InvalidInput: Its tokenizer marks neither start nor end.
        """
        encoder = AutoModel.from_pretrained(name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(name)
        if tokenizer.cls_token_id is None or tokenizer.sep_token_id is None:
            raise InvalidInput(
                f"The texts of the encoder {name!r} have no first and last token: it cannot start to copy"
            )
        config = CopyingConfig(
            encoder.config.to_dict(),
            decoder_layers,
            vocab_size=encoder.config.vocab_size,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.cls_token_id,
            eos_token_id=tokenizer.sep_token_id,
            decoder_start_token_id=tokenizer.cls_token_id,
        )
        model = cls(config)
        model.encoder.network.load_state_dict(encoder.state_dict())
        return model

    def get_encoder(self, *_: Any, **__: Any) -> nn.Module:
        """Returns what reads the source."""
        return self.encoder

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        encoder_outputs: SourceStates | None = None,
        labels: Tensor | None = None,
        **_: Any,
    ) -> Seq2SeqLMOutput:
        """Returns the loss against labels `(batch, tokens)`, or else log-probabilities `(batch, tokens, vocabulary)`.

        A label of -100, and a token that the source does not hold, is not learned.
        """
        source = encoder_outputs if encoder_outputs is not None else self.encoder(input_ids, attention_mask)
        if labels is not None:
            decoder_input_ids = self._shifted(labels)
        attention = self._attention(source, attention_mask, decoder_input_ids)
        if labels is None:
            return Seq2SeqLMOutput(logits=self._over_vocabulary(attention, source.input_ids))
        at_label = (source.input_ids[:, None, :] == labels[:, :, None]).to(attention.dtype)
        probability = (attention * at_label).sum(-1)
        learned = at_label.any(-1)
        return Seq2SeqLMOutput(loss=-(probability[learned] + _LEAST).log().sum() / learned.sum().clamp(min=1))

    def prepare_inputs_for_generation(self, decoder_input_ids: Tensor, **options: Any) -> dict[str, Any]:
        """Returns the inputs of one step: the whole summary so far, since nothing is cached."""
        known = {name: options.get(name) for name in ("encoder_outputs", "attention_mask")}
        return {"decoder_input_ids": decoder_input_ids, **known}

    def _attention(self, source: SourceStates, mask: Tensor | None, written: Tensor) -> Tensor:
        """Returns the probabilities `(batch, tokens, places)` of the places to copy next."""
        states, ids = source.last_hidden_state, source.input_ids
        mask = torch.ones_like(ids) if mask is None else mask
        here = _places(ids, written)
        length = written.shape[1]
        entered = self.encoder.embedded(written) + self.position(torch.arange(length, device=ids.device))
        entered = self.enter(torch.cat([entered, here @ states], -1))
        ahead = torch.ones(length, length, dtype=torch.bool, device=ids.device).triu(1)
        decided = self.decoder(entered, states, tgt_mask=ahead, memory_key_padding_mask=mask == 0)
        scores = self.point(decided) @ self.place(states).transpose(1, 2) / states.shape[-1] ** 0.5
        onward, back = self.moves(decided).unsqueeze(-1).unbind(2)
        following = torch.cat([torch.zeros_like(here[..., :1]), here[..., :-1]], -1)
        passed = here.flip(-1).cumsum(-1).flip(-1)
        scores = scores + onward * following + back * passed
        return scores.masked_fill(mask[:, None, :] == 0, -torch.inf).softmax(-1)

    def _over_vocabulary(self, attention: Tensor, ids: Tensor) -> Tensor:
        total = attention.new_zeros(*attention.shape[:2], self.config.vocab_size)
        total = total.scatter_add(2, ids[:, None, :].expand_as(attention), attention)
        return (total + _LEAST).log()

    def _shifted(self, labels: Tensor) -> Tensor:
        start = torch.full_like(labels[:, :1], self.config.decoder_start_token_id)
        return torch.cat([start, labels[:, :-1].masked_fill(labels[:, :-1] < 0, self.config.pad_token_id)], 1)


class SourceEncoder(nn.Module):  # type: ignore[misc]
    """An encoder whose output also holds the tokens that it read."""

    main_input_name = "input_ids"

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any) -> SourceStates:
        """Returns the states `(batch, tokens, hidden)` and the tokens `(batch, tokens)`."""
        states = self.network(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return SourceStates(last_hidden_state=states, input_ids=input_ids)

    def embedded(self, ids: Tensor) -> Tensor:
        """Returns the embeddings of tokens, without position."""
        return self.network.get_input_embeddings()(ids)


def seq2seq_model(name: str, *, copying: bool) -> tuple[Any, Any]:
    """Returns a sequence-to-sequence model to train and its tokenizer; with `copying`, one around an encoder.

    Raises:
        InvalidInput: There is no such model, or it cannot be fetched.
    """
    try:
        if copying:
            return CopyingModel.from_encoder(name), AutoTokenizer.from_pretrained(name)
        model = AutoModelForSeq2SeqLM.from_pretrained(name, dtype=torch.float32)
        return model, AutoTokenizer.from_pretrained(name)
    except InvalidInput:
        raise
    except (OSError, ValueError, KeyError) as error:
        raise InvalidInput(f"Cannot load {name!r}: {error}") from error


def _places(ids: Tensor, written: Tensor) -> Tensor:
    """Returns float32 `(batch, tokens, places)`: where the last written token may have been copied from."""
    same = ids[:, None, :] == written[:, :, None]
    pair = same.clone()
    pair[:, 1:, 1:] &= same[:, :-1, :-1]
    pair[:, :, 0] = False
    pair[:, 0] = False
    weight = same + _SAME_PAIR * pair
    return weight / weight.sum(-1, keepdim=True).clamp(min=1.0)


AutoConfig.register(CopyingConfig.model_type, CopyingConfig)
AutoModelForSeq2SeqLM.register(CopyingConfig, CopyingModel)
