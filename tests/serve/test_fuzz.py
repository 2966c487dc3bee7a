"""Requests made from the OpenAPI document, right ones and wrong ones: the server never fails by itself."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from serving import Address

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_no_request_of_the_document_makes_the_server_fail(address: Address) -> None:
    document = schemathesis.openapi.from_url(f"{address.url}/openapi.json")
    names = []
    for found in document.get_all_operations():
        operation = found.ok()
        names.append(operation.path)

        @settings(max_examples=25, deadline=None, database=None, derandomize=True,
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(case=operation.as_strategy())
        def ask(case: object) -> None:
            answer = case.call()  # type: ignore[attr-defined]
            assert answer.status_code < 500, (answer.status_code, answer.text)
            if answer.status_code >= 400:
                assert answer.json()["error"]["message"]

        ask()
    assert {"/v1/chat/completions", "/v1/embeddings", "/v1/images/edits", "/v1/classify", "/v1/search"} <= set(names)
    assert httpx.get(f"{address.url}/health").status_code == 200
