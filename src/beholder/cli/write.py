"""beholder write"""

from __future__ import annotations

from beholder.cli.options import Beams, Device, Json, Seed, Stop, Temperature, Threads, TopK, TopP

_USUAL = 100


def write(
    *beginnings: str,
    model: str,
    tokens: int | None = None,
    count: int = 1,
    beams: Beams = 1,
    temperature: Temperature = 0.8,
    top_k: TopK = None,
    top_p: TopP = None,
    stop: Stop = (),
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = False,
) -> None:
    """How a text goes on; or, of a model that was taught conversations, what it answers.

    Example: `beholder write "Once upon a time" --model runs/language`

    Parameters
    ----------
    beginnings
        Texts, each to be gone on with; questions, where the model was taught conversations.
    model
        The run or model folder of beholder train language, or a GPT, LLaMA or Qwen by folder or name.
    tokens
        Most tokens to write: 100 if not given, or as many as the model can read on.
    count
        How many are written for each, drawn one by one.
    """
    from dataclasses import replace

    from beholder.pretrained.load import load
    from beholder.runtime.device import pick_device
    from beholder.runtime.log import Log
    from beholder.tasks.saying import saying_of
    from beholder.tasks.write import open_writer
    from beholder.types import UserError

    log = Log(as_json=json)
    if not beginnings:
        raise UserError('Write how the text begins: beholder write "Once upon a time" --model runs/language')
    if count < 1:
        raise UserError(f"--count {count}: at least 1 is written.")
    if count > 1 and temperature == 0:
        raise UserError(f"--count {count}: without a temperature all are the same; add one, or leave --count out.")
    saying = saying_of(beams, temperature, top_k, top_p, stop, seed)
    writer = open_writer(load(model), pick_device(device, threads))
    for text in beginnings:
        prompt = writer.ask(text) if writer.is_asked else writer.begin(text)
        room = tokens if tokens is not None else max(1, min(_USUAL, writer.room(prompt)))
        for written in writer.write([prompt] * count, replace(saying, num_tokens=room)):
            log.result({"prompt": text, "text": written}, written if writer.is_asked else f"{text}{written}")
