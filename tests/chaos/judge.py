"""What is wrong with a run, as a pure function of what was asked, answered, stored and heard."""

import json
from collections import Counter

from ears import Ear
from walkers import Walk

# What is sent to see whether a subscription is in force: no post.
PROBE = "probe"
# Of each kind of finding, so many are said.
SHOWN = 20
# A post as its client knows it: service, target, and the identity of the acknowledgement, or None without one.
Posts = dict[str, tuple[str, str, bytes | None]]


def some(what: str, items) -> list[str]:
    """One finding for each item, but not thousands."""
    items = sorted(item.rstrip("x ") for item in items)
    more = [f"... and {len(items) - SHOWN} more: {what}"] if len(items) > SHOWN else []
    return [f"{what}: {item}" for item in items[:SHOWN]] + more


def stored_posts(export: dict[str, bytes], file: str, target: str) -> list[tuple[str, str, bytes]]:
    """Text, target and identity of each line, probes aside."""
    lines = map(json.loads, export[file].splitlines())
    return [(line["message"], line[target], bytes.fromhex(line["message_id"])) for line in lines if line["message"] != PROBE]


def acknowledged(posts: Posts) -> Posts:
    return {text: post for text, post in posts.items() if post[2] is not None}


def wrong_with_storage(posts: Posts, channels: set[str], export: dict[str, bytes], users: list[str]) -> tuple[list[str], Posts]:
    """Compares what was answered with what every disk holds; also what is stored, by text."""
    found: list[str] = []
    stored: Posts = {}
    for service, file, key in (("publish", "publications.jsonl", "channel"), ("message", "messages.jsonl", "dst")):
        lines = stored_posts(export, file, key)
        doubled = [text for text, count in Counter(text for text, _, _ in lines).items() if count > 1]
        found += some("stored twice", doubled)
        stored |= {text: (service, target, message_id) for text, target, message_id in lines}
    promised = acknowledged(posts)
    found += some("acknowledged and not stored", promised.keys() - stored.keys())
    found += some("stored and never sent", stored.keys() - posts.keys())
    found += some(
        "stored otherwise than acknowledged",
        (f"{text}: {stored[text]} and {post}" for text, post in promised.items() if text in stored and stored[text] != post),
    )
    registry = json.loads(export["registry.json"])
    found += some("a user that is not stored", set(users) - {entry["username"] for entry in registry["users"]})
    found += some("a channel that is not stored", channels - {entry["channel"] for entry in registry["channels"]})
    return found, stored


def wrong_with_ear(ear: Ear, posts: Posts, stored: Posts, was_connected: bool, may_miss: bool = False) -> list[str]:
    """An ear whose proxy died may miss what came meanwhile, and hear again what its new proxy cannot know it heard. All may miss
    something when a bound was reached, and counted."""
    expected = {text for text, (service, target, _) in stored.items() if ear.expects(service, target)}
    found = [*ear.problems[:SHOWN]]
    found += some(f"{ear.name} heard what is not stored", ear.heard.keys() - expected)
    if was_connected:
        found += some(f"{ear.name} heard more than once", (f"{text} ({count} times)" for text, count in ear.heard.items() if count > 1))
    if was_connected and not may_miss:
        # A post of a client that hangs may be stored, and published only when somebody repeats it.
        found += some(f"{ear.name} did not hear", (expected & acknowledged(posts).keys()) - ear.heard.keys())
    found += some(
        f"{ear.name} heard another identity than is stored",
        (text for text in ear.heard.keys() & expected if ear.identities[text] != stored[text][2]),
    )
    return found


def wrong_with_counts(asked: int, counted: int, answered: int) -> list[str]:
    """The brokers' own books: each request came once, and was answered once, by a server."""
    if asked == counted == answered:
        return []
    return [f"{asked} requests were asked; the brokers counted {counted}, and {answered} answered by servers"]


def histories(export: dict[str, bytes]) -> dict[str, list[bytes]]:
    """The identities in each channel and among each user's messages, in order; probes too, for they are messages to readers."""
    found: dict[str, list[bytes]] = {}
    for line in map(json.loads, export["publications.jsonl"].splitlines()):
        found.setdefault(line["channel"], []).append(bytes.fromhex(line["message_id"]))
    for line in map(json.loads, export["messages.jsonl"].splitlines()):
        for user in {line["src"], line["dst"]}:
            found.setdefault(user, []).append(bytes.fromhex(line["message_id"]))
    return found


def wrong_with_walk(walk: Walk, histories: dict[str, list[bytes]], in_order: bool) -> list[str]:
    """Each message once; in the order of the history when nothing could come late."""
    [name] = walk.scope.values()
    expected, counts = histories.get(name, []), Counter(walk.messages)
    found = some("wrong page", walk.problems)
    found += some(f"{walk} missed", (message.hex() for message in set(expected) - counts.keys()))
    found += some(f"{walk} was given what is not stored", (message.hex() for message in counts.keys() - set(expected)))
    found += some(f"{walk} was given more than once", (message.hex() for message, count in counts.items() if count > 1))
    if in_order and not found and walk.messages != expected:
        found.append(f"{walk} was given another order than is exported")
    return found


def put_off_without_need(put_off: list[tuple[float, float, str]], excuses: list[tuple[float, float]]) -> list[str]:
    """Clients are told to repeat only while too few servers see each other, or as many as matter see not this broker."""
    needless = (text for asked, answered, text in put_off if not any(began <= answered and asked <= ended for began, ended in excuses))
    return some("put off without need", needless)
