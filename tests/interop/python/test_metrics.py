"""docs/metrics.md and what the roles really show are one."""

import re
from pathlib import Path

import pytest

from clients import Client, Listener, rep_of
from conftest import wait_until

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
# What the page says of one role stands under its name.
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))
# Prometheus' own parts of a histogram.
PARTS = re.compile(r"_(bucket|sum|count)$")
LABEL = re.compile(r'(\w+)="([^"]*)"')
KINDS = ("broker-1", "proxy-1", "server-1", "ref")


def table(section: str, heading: str) -> list[tuple[str, ...]]:
    """The rows of every table of a section whose first column is headed so, without the marks of code."""
    found, inside = [], False
    for line in SECTIONS[section].splitlines():
        cells = tuple(cell.strip() for cell in line.strip("|").split("|")) if line.startswith("|") else ()
        if cells and cells[0] == heading:
            inside = True
        elif not cells:
            inside = False
        elif inside and not set(cells[0]) <= set("- "):
            found.append(cells)
    return found


def names(section: str, heading: str) -> set[str]:
    return {name for row in table(section, heading) for name in re.findall(r"`([^`]+)`", row[0])}


def documented(section: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Type and labels of each metric."""
    metrics = {}
    for name, kind, _ in (*table("Every role", "metric"), *table(section, "metric")):
        name, _, labels = name.strip("`").rstrip("}").partition("{")
        metrics[name] = kind, frozenset(filter(None, labels.split(",")))
    return metrics


def section_of(role: str) -> str:
    return role.partition("-")[0].capitalize()


@pytest.fixture(scope="module")
def shown(cluster):
    """What each role shows after some conversation: its lines as (name, labels), and the types by name."""
    listener = Listener("metrics")
    client = Client(rep_of(1))
    client.must("login", user="counted")
    client.must("channel", channel="metrics")
    client.must("publish", user="counted", channel="metrics", message="one")
    client.ask("publish", user="counted", channel="nowhere", message="two")
    client.ask("fly")
    listener.everything()
    # Taken over once a second.
    wait_until("server-1 shows what it was asked", lambda: 'service="other"' in cluster.get("server-1", "/metrics")[1])
    pages = {role: cluster.get(role, "/metrics")[1] for role in cluster.http()}
    assert set(KINDS) <= set(pages)

    def read(page: str):
        types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.M))
        lines = [(name, dict(LABEL.findall(labels))) for name, labels in re.findall(r"^([a-z_]+)(\{.*\})? \S+$", page, re.M)]
        assert len(lines) == len([line for line in page.splitlines() if line and not line.startswith("#")])
        return types, lines

    return {role: read(page) for role, page in pages.items()}


@pytest.mark.parametrize("role", KINDS)
def test_a_role_shows_the_metrics_on_the_page_and_no_others(shown, role):
    types, lines = shown[role]
    page = documented(section_of(role))
    assert types == {name: kind for name, (kind, _) in page.items()}
    for name, labels in lines:
        base = name if name in types else PARTS.sub("", name)
        assert set(labels) - {"le"} == page[base][1], f"{name}{labels}"


def values(shown, role: str, metric: str, label: str) -> set[str]:
    return {labels[label] for name, labels in shown[role][1] if name == metric}


@pytest.mark.parametrize("role", ["broker-1", "proxy-1", "server-1", "ref"])
def test_every_event_is_on_the_page(shown, role):
    kind = role.partition("-")[0]
    assert values(shown, role, f"papo_{kind}_events_total", "event") == names(section_of(role), "event")


@pytest.mark.parametrize(
    ("role", "metric"),
    [("proxy-1", "papo_proxy_dropped_total"), ("server-1", "papo_server_publications_dropped_total")],
)
def test_every_cause_of_a_loss_is_on_the_page(shown, role, metric):
    assert values(shown, role, metric, "cause") == names(section_of(role), "cause")


@pytest.mark.parametrize("role", KINDS)
def test_every_endpoint_and_cause_of_an_end_is_on_the_page(shown, role):
    row = next(row for row in table("Every role", "role") if row[0] == section_of(role).lower())
    endpoints = set(re.findall(r"`([^`]+)`", row[1]))
    assert values(shown, role, "papo_connections", "endpoint") == endpoints
    for metric in ("papo_connections_failed_total", "papo_connections_ended_total"):
        assert values(shown, role, metric, "endpoint") == endpoints
        assert values(shown, role, metric, "cause") == names("Every role", "cause")


def test_services_and_outcomes_are_of_the_fixed_lists_on_the_page(shown):
    server = SECTIONS["Server"]
    services = set(re.findall(r"`(\w+)`", server[server.index("Services:") : server.index("| event |")]))
    outcomes = {"ok", "erro", "elsewhere"}
    lines = shown["server-1"][1]
    seen = {(labels["service"], labels["outcome"]) for name, labels in lines if name == "papo_server_requests_total"}
    assert {("login", "ok"), ("publish", "ok"), ("publish", "erro"), ("other", "erro")} <= seen
    assert {service for service, _ in seen} <= services and {outcome for _, outcome in seen} <= outcomes


def test_nothing_that_people_choose_is_a_label(shown):
    for role, (_, lines) in shown.items():
        for name, labels in lines:
            for value in labels.values():
                assert re.fullmatch(r"[a-z_]+|[0-9.]+|\+Inf|[0-9.]+e-[0-9]+", value), f"{role}: {name}{labels}"
                assert value not in ("counted", "metrics", "nowhere", "fly"), f"{role}: {name}{labels}"
