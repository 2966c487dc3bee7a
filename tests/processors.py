"""What the processor that runs the tests can do."""

from __future__ import annotations

import pytest
import torch

PACKS_BF16 = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
"""Whether weights can be arranged for products in bfloat16."""
needs_packed_bf16 = pytest.mark.skipif(not PACKS_BF16, reason="this processor cannot pack bfloat16")
