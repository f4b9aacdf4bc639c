"""What can go wrong, each error with what to do about it."""

from typing import Final

_REMEDIES: Final = {
    "bad_request": "Correct the field that the text names.",
    "too_large": "Send a shorter text, or raise limits.requestBytes in the manifest.",
    "unknown_service": "Is this a broker of papo, and of this version?",
    "unknown_user": "A user exists after a first login.",
    "unknown_channel": "Make the channel first, with create_channel().",
    "name_taken": "If it is yours: a channel that exists can be used, and a login is repeated with its first request_id.",
    "reserved_name": "Choose another name.",
    "frozen_channel": "A user has this channel's name: read it, and post to another.",
    "unknown": "It may still come to be: repeat it with the same request_id.",
    "no_server": "Too few servers are up: `papo status` shows them. Repeat it with the same request_id.",
    "cursor_invalid": "The cursor is of another channel, user or cluster: begin without one.",
    "cursor_ahead": "The servers do not show yet what was read before. If they have lost it, begin without a cursor.",
}


class PapoError(Exception):
    """Everything that this library raises by itself."""


class Closed(PapoError):
    """The chat or the stream is closed, or was never opened."""


class Overloaded(PapoError):
    """Too many requests of this chat wait for their turn. Await some of them before asking more."""


class TooLarge(PapoError):
    """The request is over the bound on its size, and was not sent."""


class BadReply(PapoError):
    """Something answered that does not speak papo's protocol. Do the addresses name brokers of papo?"""


class Refused(PapoError):
    """The servers understood, and answered `erro`.

    `code` is for programs (docs/wire.md, section 3, lists them); `retry` says whether the same request may be repeated with hope, which
    was then done until the deadline; a write is repeated by the program with the same `request_id`.
    """

    def __init__(self, service: str, code: str, retry: bool, description: str, request_id: bytes | None = None) -> None:
        remedy = _REMEDIES.get(code, "")
        super().__init__(f"{service} was refused ({code}): {description.rstrip('.')}. {remedy}".rstrip())
        self.service, self.code, self.retry, self.description, self.request_id = service, code, retry, description, request_id


class NoAnswer(PapoError):
    """Nobody answered before the deadline. A write may have been carried out: repeated with the same `request_id` it is done once."""

    def __init__(self, service: str, seconds: float, cause: str, request_id: bytes | None = None) -> None:
        unsure = " It may have been carried out: repeat it with the same request_id." if request_id else ""
        super().__init__(f"{service}: no answer within {seconds:g} s (last: {cause}). Is a broker running there?{unsure}")
        self.service, self.cause, self.request_id = service, cause, request_id
