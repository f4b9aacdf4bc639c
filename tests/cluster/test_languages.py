"""Acceptance of part 7, line 2: the programs of five languages chat on Kubernetes as they do with `papo local` (rows A13, A14, L01 to L03)."""

import pytest

from conftest import ChatCluster, fresh_namespace, name_of
from conversation import PROGRAMS, expected

# With two logins, a channel and a note these are more than ten operations.
SIZES = (12, 200, 20_000, 12, 12, 12, 12)


@pytest.fixture(scope="module")
def addresses(operator, request):
    """Of broker and proxy, by the names that the texts of the exercise use."""
    with fresh_namespace(operator, name_of(request)) as namespace:
        chat = ChatCluster(operator, "papo", namespace)
        chat.apply()
        chat.wait_ready()
        yield f"tcp://{chat.service('broker')}:5555", f"tcp://{chat.service('proxy')}:5558"


@pytest.mark.parametrize("language", PROGRAMS)
def test_a13_a14_l01_l02_l03_a_program_in_each_language_chats_through_the_services(language, operator, addresses):
    names = [f"{language}-{number}" for number in range(3)]
    said = operator.run(*PROGRAMS[language](), *addresses, *SIZES, input="".join(f"{name}\n" for name in names)).stdout
    assert said.splitlines() == [line for name in names for line in expected(name, SIZES)]
