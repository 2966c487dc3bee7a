"""beholder write"""

from __future__ import annotations

from beholder.cli.options import Beams, Device, Json, Seed, Stop, Temperature, Threads, TopK, TopP


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
    from beholder.pretrained.load import load
    from beholder.runtime.device import pick_device
    from beholder.runtime.log import Log
    from beholder.tasks.saying import saying_of
    from beholder.tasks.write import open_writer, write_on

    log, saying = Log(as_json=json), saying_of(beams, temperature, top_k, top_p, stop, seed)
    writer = open_writer(load(model), pick_device(device, threads))
    for text, written in write_on(writer, beginnings, saying, tokens=tokens, count=count):
        log.result({"prompt": text, "text": written}, written if writer.is_asked else f"{text}{written}")
