"""Every bound and pause of the library, each with its reason."""

from typing import Final

REPLY_SECONDS: Final = 12.0
"""How long one attempt waits for its reply: a broker that lives answers within ten seconds."""

DEADLINE_SECONDS: Final = 30.0
"""How long a request is repeated in all: two whole attempts, and a new connection between them."""

CONNECT_SECONDS: Final = 2.0
"""How long one attempt to connect and to shake hands may take."""

HEARTBEAT_SECONDS: Final = 2.0
"""How often a connection is asked whether its peer lives. A process that hangs keeps its TCP connections."""

HEARTBEAT_DEAD_SECONDS: Final = 4.0
"""A connection whose peer says nothing for so long is given up."""

RECONNECT_SECONDS: Final = 3600.0
"""libzmq would connect again by itself after so long; by then the socket is closed. Never (-1) is not safe: libzmq 4.3.5 then ends the
program (`Assertion failed: !_more (src/fq.cpp:80)`) when a connection is lost between two frames of a message that is being received."""

BACKOFF_MIN_SECONDS: Final = 0.05
"""The first pause after all addresses have failed; doubled each time, and varied by chance."""

BACKOFF_MAX_SECONDS: Final = 2.0
"""The longest such pause."""

REPEAT_SECONDS: Final = 0.5
"""The pause before a request is repeated whose refusal says that this may help; varied by chance."""

WAITING_MAX: Final = 1024
"""Requests of one chat that may wait for their turn."""

REQUEST_BYTES_MAX: Final = 1 << 20
"""The largest request that papo takes unless told otherwise (`limits.requestBytes`)."""

MESSAGE_BYTES_MAX: Final = 16 << 20
"""The largest reply or publication that is read. papo's replies have at most 4 MiB."""

TOPICS_MAX: Final = 4096
"""What one subscriber may follow; a proxy allows no more."""

PAGE_MESSAGES: Final = 200
"""Messages in a page of a history that a stream asks for."""

OUTBOX_MAX: Final = 1024
"""Messages of a stream that may wait for the program. While they do, nothing more is taken from the network."""

HELD_MAX: Final = 4096
"""Live messages that may wait until a history is read up to them. More are left to the history."""

AHEAD_MAX: Final = 16_384
"""Live messages that may be handed out before a history confirms them. More are left to the history."""

READ_AFTER: Final = 4096
"""So many live messages, and the histories are read on: long before `AHEAD_MAX`."""

SEEN_GENERATION: Final = 32_768
"""Identities in each half of the memory of what histories gave: some 3 MiB each when full. A live copy comes at most a minute late."""

COVERED_MAX: Final = 64
"""Starts of servers of which a stream remembers how far they are read: more than publish within a minute."""

SETTLE_SECONDS: Final = 1.0
"""From a new subscription until the histories are read on: by then it has reached the proxy."""

READ_EVERY_SECONDS: Final = 30.0
"""How often the histories are read on while all is well; up to a fifth more, by chance."""

READ_AGAIN_SECONDS: Final = 2.0
"""How soon again when a message was missed, nobody answered, or no proxy is there."""
