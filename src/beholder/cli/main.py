"""`beholder VERB ...`: finds the verb's module, imports only that one, and turns a user's mistake into one sentence."""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib
import inspect
import io
import itertools
import json
import os
import re
import runpy
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

from beholder.types import UserError
from beholder.version import VERSION

VERBS = {
    "adapt": "From a folder of images to a model of that domain, with a verdict and a report.",
    "tune": "A model of images and texts learns yours, and tells what it forgets.",
    "classify": "Which class each image belongs to, with a probability.",
    "anomaly": "Which images are unusual for their domain.",
    "similarity": "How well texts go with an image.",
    "describe": "Put images into words, or rank descriptions that you give.",
    "answer": "Answer a question about images.",
    "write": "How a text goes on, by a language model.",
    "evaluate": "Score captions or answers on your own images, and whether the model looks.",
    "search": "Which images of a folder are like a text or an image.",
    "inpaint": "Put something that fits into a hole of a picture.",
    "edit": "Put what you ask for into a part of a picture.",
    "complete": "Paint what comes next, by the example of pairs of pictures.",
    "generate": "Pictures of what a text says, or of a class.",
    "train": "Train one part by itself: a built-in recipe, or a Python file of your own.",
    "scale-law": "How much better larger models of your pictures become, and whether small ones foretell it.",
    "label": "A page on which pictures get classes, one key each.",
    "pick": "Which images to label first.",
    "curate": "Set broken images aside and list duplicates, conflicts and odd ones.",
    "distil": "A small model that says what a large one says, and what that costs.",
    "export": "A model in a form that other programs run, checked before it is kept.",
    "serve": "Models behind an address that OpenAI's clients speak, with a page to try them.",
    "doctor": "What this machine has and what will be used.",
}

RECIPES = {
    "pairs": "One space for your images and your words, on top of two towers that stay as they are.",
    "tokenizer": "Your pictures as sequences of codes: encoder, codebook and decoder.",
    "masked": "Your pictures with holes: a model that mends, changes and paints them in a few steps.",
    "lvm": "Your pictures as sentences: a model that is then asked by example.",
    "describe": "Your images and what is said of them: a model that captions, or answers questions.",
    "language": "Your texts: a language model that writes as they do, or a named one that goes on learning.",
    "text-to-image": "Your pictures and their captions: a model that draws what a text says.",
}
"""What `train` knows by name."""
_RESUMED = ("adapt", "tune", "train", "scale-law", "distil")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; the exit code is 0, 2 for a user's mistake, 130 after Ctrl-C, 141 when nobody reads on."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a console that cannot show a letter gets its number
            stream.reconfigure(errors="backslashreplace")
    try:
        with _tidied_up_when_asked_to_end():
            code = _main(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()  # here, where a closed pipe can be met; at its end the interpreter would complain aloud
        return code
    except BrokenPipeError:
        return _fall_silent()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _told_of_a_full_disk(error)


@contextlib.contextmanager
def _tidied_up_when_asked_to_end() -> Iterator[None]:
    """SIGTERM ends the block as an exception does, so that half-made files go; the exit code is 143, as the shell tells
    of a program that it ended. Verbs that drain, such as serve, take the signal themselves."""

    def end(*_: object) -> None:
        raise SystemExit(143)

    is_ours = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, end) if is_ours else None
    try:
        yield
    finally:
        if is_ours:
            signal.signal(signal.SIGTERM, before)


def _main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        print(_help())
        return 0
    if arguments[0] in ("--version", "-V"):
        print(f"beholder {VERSION}")
        return 0
    verb, rest = arguments[0], arguments[1:]
    try:
        if verb not in VERBS:
            raise UserError(f"{verb}: not a verb of beholder; {_suggest(verb, VERBS)}")
        return _train(rest) if verb == "train" else _run(verb, rest)
    except UserError as error:
        return _refuse(str(error), "--json" in rest)
    except KeyboardInterrupt:
        kept = " The same command goes on from the last checkpoint." if verb in _RESUMED else ""
        print(f"\nInterrupted.{kept}", file=sys.stderr)
        return 130


def _train(arguments: list[str]) -> int:
    """A built-in recipe, or a Python file, which gets the arguments after it."""
    recipe = arguments[0] if arguments else "--help"
    if recipe in RECIPES:
        return _run(f"train {recipe}", arguments[1:])
    if recipe in ("--help", "-h"):
        listed = "".join(f"  {name:<13} {text}\n" for name, text in RECIPES.items())
        listed += "  FILE.py       A recipe of your own, run with the arguments after it.\n"
        print(f"Usage: beholder train RECIPE ...\n\n{listed}")
        print("Example: beholder train pairs --data photos/ --out runs/pairs")
        return 0
    if not recipe.endswith(".py"):
        raise UserError(f"{recipe}: not a recipe; {_suggest(recipe, RECIPES)}")
    if not Path(recipe).is_file():
        raise UserError(f"{recipe}: no such file; name the Python file of a recipe.")
    sys.argv, sys.path = arguments, [str(Path(recipe).resolve().parent), *sys.path]  # as `python FILE.py` has them
    runpy.run_path(recipe, run_name="__main__")
    return 0


def _run(verb: str, arguments: Sequence[str]) -> int:
    from cyclopts import App, CycloptsError, Parameter

    from beholder.runtime.log import PipedConsole

    app = App(
        name=f"beholder {verb}",
        version=VERSION,
        help_format="markdown",
        result_action="return_value",
        console=PipedConsole(),
        suppress_keyboard_interrupt=False,  # it would end without a word
        # `--resolutions 128 224` as well as an option for each; no --no-json, --no-thorough and --empty-resolutions
        default_parameter=Parameter(consume_multiple=True, negative=()),
    )
    name = verb.replace(" ", "_").replace("-", "_")
    asked = getattr(importlib.import_module(f"beholder.cli.{name}"), name)
    app.default(asked)
    _refuse_fractions(arguments, asked)
    try:
        app(list(arguments), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise UserError(f"{_mistake(error, asked)} See beholder {verb} --help.") from error
    return 0


def _refuse_fractions(arguments: Sequence[str], asked: Callable[..., None]) -> None:
    """Raises UserError for a fraction where a whole number is meant, which cyclopts would round."""
    hints = get_type_hints(asked)
    whole = {f"--{name.replace('_', '-')}" for name, hint in hints.items() if _is_whole(hint)}
    option = ""
    for part in (part for argument in arguments for part in argument.split("=", 1)):
        if part.startswith("--"):
            option = part
        elif option in whole and re.fullmatch(r"[+-]?\d*\.\d*[1-9]\d*", part):
            raise UserError(f"{option} {part}: give a whole number.")


def _is_whole(hint: Any) -> bool:
    """int, int | None, tuple[int, ...], tuple[int, ...] | None."""
    return hint is int or any(map(_is_whole, get_args(hint)))


def _mistake(error: Any, asked: Callable[..., None]) -> str:
    """A sentence; of an option that was left out its name and what it is, which cyclopts does not tell."""
    from cyclopts import MissingArgumentError

    sentence = " ".join(str(error).split())
    if not isinstance(error, MissingArgumentError) or error.keyword or error.argument is None or error.argument.tokens:
        return sentence
    if "Did you mean" in sentence:
        return sentence
    told = iter((inspect.getdoc(asked) or "").splitlines())
    next((line for line in told if line in error.argument.field_info.names), None)
    what = " ".join(line.strip() for line in itertools.takewhile(lambda line: line.startswith(" "), told))
    what = what.partition(". ")[0].partition("; ")[0].rstrip(".")
    return f"{error.argument.name} is missing: {what[:1].lower() + what[1:]}." if what else sentence


def _fall_silent() -> int:
    """Nobody reads on, such as after `| head`, or nothing more fits: what is still buffered goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    return 141  # what the shell tells of a program that SIGPIPE ended


def _told_of_a_full_disk(error: OSError) -> int:
    """What this command prints, or a file of its own, has no room."""
    where = error.filename or "what this command prints, or its files"
    with contextlib.suppress(OSError):  # the other stream may lie on the same disk
        print(f"beholder: The disk is full: no room for {where}; free some space and run it again.", file=sys.stderr)
        sys.stderr.flush()
    _fall_silent()
    return 2


def _refuse(sentence: str, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"error": sentence}, ensure_ascii=False))
    print(f"beholder: {sentence}", file=sys.stderr)
    return 2


def _suggest(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"choose one of {', '.join(known)}."


def _help() -> str:
    lines = [f"beholder {VERSION}: large vision models for your own domain.", "", "Usage: beholder VERB ...", ""]
    lines += [f"  {verb:<10} {text}" for verb, text in VERBS.items()]
    lines += [
        "",
        "beholder VERB --help tells more, with an example.",
        "",
        "First: beholder adapt PHOTOS --out runs/first",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
