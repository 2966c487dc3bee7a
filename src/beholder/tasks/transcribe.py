"""What is said in a sound, in writing."""

from __future__ import annotations

from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from beholder.inference.beams import BeamConfig, search_beams
from beholder.inference.generate import GenerationConfig, generate
from beholder.inference.source import WithSource
from beholder.inference.suppression import Suppression
from beholder.models.whisper import Whisper, WhisperConfig
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.tokenizers.audio import RATE, SpectrogramConfig, log_mel, read_wav
from beholder.tokenizers.text import Words
from beholder.types import Answer, UserError


def transcribe(
    model: Foreign,
    sound: Path | str | Float[Tensor, " samples"],
    *,
    language: str | None = None,
    num_beams: int = 1,
    num_tokens: int | None = None,
) -> Answer:
    """One answer: the text as `label`, and `details` with its "tokens" and the sound's "seconds".

    `sound` is a WAV file, or a waveform of 16,000 samples a second from -1 to 1; at most 30 s, which is what Whisper
    hears at once. `language` ("de") is for models of many languages. `num_tokens` is the longest text; as many as fit
    where it is not told. Raises UserError for another model, a sound that is too long, or a language that is missing.
    """
    if not isinstance(model.model, Whisper):
        raise UserError(f"{model.source} is a {model.kind}, which hears nothing; load a Whisper.")
    config, words = model.model.config, model.need_words()
    forced = _forced(config, words, language)
    waveform = sound if isinstance(sound, Tensor) else read_wav(Path(sound))
    num_seconds = 2 * config.num_source_positions // 100
    spectrogram = log_mel(waveform, SpectrogramConfig(config.num_mels, num_seconds=num_seconds))
    kind = model.model.embed.tokens.weight.dtype
    heard = WithSource(model.model, spectrogram[None].to(kind))
    prompts = heard.prompts(forced)
    num_tokens = num_tokens or config.num_positions - len(prompts[0]) + 1
    suppression = Suppression(config.suppressed_tokens, config.first_suppressed_tokens)
    if num_beams == 1:
        settings = GenerationConfig(num_tokens, config.end_tokens, suppression=suppression)
        tokens = generate(heard, prompts, settings)[0]
    else:
        beams = BeamConfig(num_beams, num_tokens, config.end_tokens, suppression=suppression)
        tokens = search_beams(heard, prompts, beams)[0]
    key = "waveform" if isinstance(sound, Tensor) else str(sound)
    details = {"tokens": tokens, "seconds": len(waveform) / RATE}
    return Answer(key, words.decode(tokens).strip(), details=details)


def _forced(config: WhisperConfig, words: Words, language: str | None) -> tuple[int, ...]:
    """What stands between the start and the text: the language, that it is written and not translated, and no times."""
    if language is None and not config.is_multilingual:
        return config.forced_tokens
    if not config.is_multilingual:
        raise UserError(f"language={language!r}: this model knows English only; leave it out.")
    if language is None:
        raise UserError('This model knows many languages; tell which one is spoken, such as language="en".')
    return tuple(words.number_of(name) for name in (f"<|{language}|>", "<|transcribe|>", "<|notimestamps|>"))
