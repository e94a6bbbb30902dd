"""Requests made from the OpenAPI description find no server error and no answer that is not described."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from aczerots.server.app import make_app
from tests.patience import PATIENCE
from tests.server.small_project import TOKENS, SmallProject, serving

pytestmark = pytest.mark.slow

EXAMPLES = 15
MALFORMED = 400, b"Invalid HTTP request received."
"""What the HTTP layer says to bytes that are no request; the application never sees them."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallProject]:
    made = SmallProject(tmp_path_factory.mktemp("fuzz"), slides=2, size=200, tile=64)
    made.propose(0, [])
    made.advance_to(1, [0, 1, 2, 5])
    yield made
    made.store.close()


@pytest.fixture(scope="module")
def address(small: SmallProject) -> Iterator[str]:
    with serving(small) as url:
        yield url


@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_no_request_is_a_server_error(small: SmallProject, address: str, mode: str) -> None:
    # Here, since loading it takes seconds, also where this test is left out.
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    every = [not_a_server_error, checks.status_code_conformance, checks.content_type_conformance]
    every.append(checks.response_schema_conformance)
    schema = schemathesis.openapi.from_dict(make_app(small.served).openapi())
    asked, header = 0, {"Authorization": f"Bearer {TOKENS['ada']}"}
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=EXAMPLES,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            deadline=None,
        )
        @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode)))
        def ask(case: schemathesis.Case) -> None:
            nonlocal asked
            asked += 1
            answer = case.call(base_url=address, headers=header, timeout=PATIENCE)
            if (answer.status_code, answer.content) == MALFORMED:
                return
            case.validate_response(answer, checks=every)

        ask()
    assert asked > 10 * len(list(schema.get_all_operations()))
