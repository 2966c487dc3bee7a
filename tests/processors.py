"""What the processor that runs the tests can do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

PACKS_BF16 = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
"""Whether weights can be arranged for products in bfloat16."""
needs_packed_bf16 = pytest.mark.skipif(not PACKS_BF16, reason="this processor cannot pack bfloat16")
_TOLD = Path("/proc/cpuinfo")
MULTIPLIES_BYTES = not _TOLD.exists() or "vnni" in _TOLD.read_text()
"""Whether sums of products of bytes are exact; older instructions saturate, and what comes of it is refused."""
needs_exact_bytes = pytest.mark.skipif(not MULTIPLIES_BYTES, reason="this processor adds products of bytes inexactly")
