"""What is wrong with the form of a request, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from beholder.serve.refusal import Refusal

_SENTENCES = {
    "missing": "has to be given",
    "extra_forbidden": "is no field of this request",
    "too_short": "give at least {min_length}",
    "too_long": "give at most {max_length}",
    "union_tag_invalid": "has to have a type of {expected_tags}",
    "union_tag_not_found": "has to have a type, text or image_url",
}
"""By pydantic's kind of mistake; others speak as pydantic does."""


def refusal_of(mistake: Mapping[str, Any], body: object, content_type: str | None) -> Refusal:
    """`mistake` is one of pydantic's; `body` what was read, bytes where it was not read as JSON."""
    kind, place = str(mistake["type"]), list(mistake["loc"])
    if kind == "json_invalid":
        reason = str((mistake.get("ctx") or {}).get("error", "not JSON")).lower()
        return Refusal(400, f"The body is no JSON ({reason}).", code="invalid_json")
    if place == ["body"] and not _is_json(content_type) and "multipart" not in (content_type or ""):
        return Refusal(400, "The body is not told to be JSON; send the head Content-Type: application/json.")
    if place == ["body"]:
        return Refusal(422, "The body has to be a JSON object with the fields of /openapi.json.")
    where = _where(place[1:] if place[0] == "body" else place, body, is_absent=kind == "missing")
    said = _SENTENCES.get(kind)
    told = str(mistake["msg"]) if said is None else said.format(**(mistake.get("ctx") or {}))
    return Refusal(422, f"{where}: {told[:1].lower()}{told[1:]}; /openapi.json has the form.", param=where)


def _where(place: Sequence[str | int], body: object, is_absent: bool) -> str:
    """`messages[0].content[1].text`, without the kinds that pydantic tried on the way."""
    kept = list[str | int]()
    at: Any = body
    for one in place:
        try:
            at = at[one]
        except (KeyError, IndexError, TypeError):
            continue
        kept.append(one)
    if is_absent:
        kept.append(place[-1])
    told = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in kept or place[:1])
    return told.removeprefix(".")


def _is_json(content_type: str | None) -> bool:
    kind = (content_type or "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")
