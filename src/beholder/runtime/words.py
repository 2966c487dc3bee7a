"""The words of a text as they are compared, in any script."""

from __future__ import annotations

import re
import unicodedata

_ALONE = "\u2e80-\u2fdf\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_ALONE}]|[^\W_{_ALONE}]+")
"""Letters and digits; signs of scripts without spaces stand alone."""


def words_of(text: str) -> list[str]:
    """In lower case, composed, without what stands between them."""
    return _WORD.findall(unicodedata.normalize("NFC", text).lower())
