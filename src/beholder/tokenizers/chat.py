"""Conversations as the text that a model was taught them in: the Jinja template that comes with its tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from beholder.tokenizers.text import Words
from beholder.types import UserError

_REMEDY = "choose a language model with another, or remove chat_template from its tokenizer_config.json"


@dataclass(frozen=True)
class Piece:
    """Of a conversation's text."""

    text: str
    is_answer: bool = False
    """What the model says, with whatever ends its turn."""


@dataclass(frozen=True)
class Chat:
    """One template, and the names of the special tokens that it may write."""

    template: str
    tokens: Mapping[str, str]

    def pieces(self, turns: Sequence[tuple[str, str]], question: str | None = None) -> Iterator[Piece]:
        """Turns of a question and its answer each, and then the question that is to be answered.

        Raises UserError for a template that is broken, refuses the turns, or writes earlier ones otherwise once others
        follow, so that a conversation has no single text.
        """
        messages: list[dict[str, str]] = []
        text = ""
        for asked, answered in turns:
            messages.append({"role": "user", "content": asked})
            opened = self._render(messages, is_open=True)
            yield Piece(_rest(opened, text))
            messages.append({"role": "assistant", "content": answered})
            text = self._render(messages, is_open=False)
            yield Piece(_rest(text, opened), is_answer=True)
        if question is not None:
            messages.append({"role": "user", "content": question})
            yield Piece(_rest(self._render(messages, is_open=True), text))

    def _render(self, messages: Sequence[Mapping[str, str]], *, is_open: bool) -> str:
        try:
            return self._compiled.render(messages=list(messages), add_generation_prompt=is_open, tools=None,
                                         documents=None, **self.tokens)  # fmt: skip
        except (jinja2.TemplateError, TypeError, ValueError, LookupError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UserError(f"The chat template of this tokenizer cannot be used ({reason}); {_REMEDY}.") from error

    @cached_property
    def _compiled(self) -> jinja2.Template:
        try:
            return _environment().from_string(self.template)
        except jinja2.TemplateError as error:
            raise UserError(f"The chat template of this tokenizer cannot be read ({error}); {_REMEDY}.") from error


def chat_of(words: Words) -> Chat | None:
    """Of a tokenizer that came with a template: the only one, or the one called default."""
    told = words.declared.get("chat_template")
    if isinstance(told, list):
        named = {one.get("name"): one.get("template") for one in told if isinstance(one, Mapping)}
        told = named.get("default")
    if not isinstance(told, str):
        return None
    tokens = {name: _spelled(value) for name, value in words.declared.items() if name.endswith("_token")}
    return Chat(told, {name: value for name, value in tokens.items() if value is not None})


def _spelled(value: Any) -> str | None:
    """A token as configurations write it: its text, or a group that has it."""
    told = value.get("content") if isinstance(value, Mapping) else value
    return told if isinstance(told, str) else None


def _rest(text: str, before: str) -> str:
    if not text.startswith(before):
        raise UserError(
            f"The chat template of this tokenizer writes earlier turns otherwise once others follow; {_REMEDY}."
        )
    return text[len(before) :]


def _environment() -> ImmutableSandboxedEnvironment:
    """What templates are written for (the manner of `transformers`): no code but the template's own runs."""
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    made.filters["tojson"] = _to_json
    made.globals |= {"raise_exception": _refuse, "strftime_now": lambda form: datetime.now().strftime(form)}
    return made


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)
