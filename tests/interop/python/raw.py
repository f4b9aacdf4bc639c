"""A peer that says whatever it likes: ZMTP by hand over a plain TCP socket (RFC 23, 37)."""

import socket
import struct
import time

MORE, LONG, COMMAND = 1, 2, 4
# What the far side does about a peer, it does within so long: its own patience with a handshake is 5 s.
PATIENCE_SECONDS = 15


def greeting(major: int = 3, minor: int = 1, mechanism: bytes = b"NULL") -> bytes:
    return b"\xff" + bytes(8) + b"\x7f" + bytes([major, minor]) + mechanism.ljust(20, b"\0") + bytes(32)


def frame(body: bytes, flags: int = 0) -> bytes:
    if len(body) < 256:
        return bytes([flags, len(body)]) + body
    return header(len(body), flags) + body


def header(size: int, flags: int = 0) -> bytes:
    """Of a long frame, whose body may never come."""
    return bytes([flags | LONG]) + struct.pack(">Q", size)


def message(*frames: bytes) -> bytes:
    return b"".join(frame(body, MORE) for body in frames[:-1]) + frame(frames[-1])


def command(name: bytes, body: bytes = b"") -> bytes:
    return frame(bytes([len(name)]) + name + body, COMMAND)


def properties(*pairs: tuple[bytes, bytes]) -> bytes:
    return b"".join(bytes([len(name)]) + name + struct.pack(">I", len(value)) + value for name, value in pairs)


def ready(kind: bytes, *more: tuple[bytes, bytes]) -> bytes:
    return command(b"READY", properties((b"Socket-Type", kind), *more))


class Raw:
    """One connection."""

    def __init__(self, port: int, said: bytes = b"", receive_buffer: int | None = None):
        self.socket = socket.socket()
        if receive_buffer:
            # Before connecting: it decides the window that TCP offers.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE_SECONDS)
        self.socket.connect(("127.0.0.1", port))
        self.heard = b""
        self.say(said)

    @classmethod
    def over(cls, connection: socket.socket) -> "Raw":
        """A connection that was accepted."""
        peer = cls.__new__(cls)
        peer.socket, peer.heard = connection, b""
        return peer

    @classmethod
    def greeted(cls, port: int, kind: bytes, *more: tuple[bytes, bytes], minor: int = 1, receive_buffer: int | None = None) -> "Raw":
        """After the handshake."""
        peer = cls(port, greeting(minor=minor) + ready(kind, *more), receive_buffer)
        peer.take(64)
        flags, body = peer.take_frame()
        assert flags & COMMAND and body.startswith(b"\x05READY"), (flags, body)
        return peer

    def say(self, said: bytes) -> bool:
        """False when the far side has closed."""
        try:
            self.socket.sendall(said)
            return True
        except (ConnectionResetError, BrokenPipeError):
            return False

    def say_without_waiting(self, said: bytes, seconds: float) -> bool:
        """Says it as fast as the far side reads, for so long; False when the far side has closed."""
        deadline = time.monotonic() + seconds
        view = memoryview(said)
        self.socket.settimeout(0.1)
        try:
            while view and time.monotonic() < deadline:
                try:
                    view = view[self.socket.send(view) :]
                except TimeoutError:
                    continue
            return True
        except (ConnectionResetError, BrokenPipeError):
            return False
        finally:
            self.socket.settimeout(PATIENCE_SECONDS)

    def take(self, count: int) -> bytes:
        """Exactly so many bytes."""
        while len(self.heard) < count:
            more = self.socket.recv(1 << 16)
            if not more:
                raise EOFError(f"closed after {self.heard!r}")
            self.heard += more
        taken, self.heard = self.heard[:count], self.heard[count:]
        return taken

    def take_frame(self) -> tuple[int, bytes]:
        """Flags and body of the next frame."""
        flags = self.take(1)[0]
        size = struct.unpack(">Q", self.take(8))[0] if flags & LONG else self.take(1)[0]
        return flags, self.take(size)

    def take_message(self) -> list[bytes]:
        """The next message; commands before it are passed over."""
        frames = []
        while True:
            flags, body = self.take_frame()
            if flags & COMMAND:
                continue
            frames.append(body)
            if not flags & MORE:
                return frames

    def messages_within(self, seconds: float) -> list[list[bytes]]:
        """All messages that come in this time."""
        messages = []
        deadline = time.monotonic() + seconds
        try:
            while (left := deadline - time.monotonic()) > 0:
                self.socket.settimeout(left)
                messages.append(self.take_message())
        except (TimeoutError, EOFError, ConnectionResetError):
            pass
        self.socket.settimeout(PATIENCE_SECONDS)
        return messages

    def is_closed(self, seconds: float = PATIENCE_SECONDS) -> bool:
        """Whether the far side closes within so long; what it says before is of no interest."""
        deadline = time.monotonic() + seconds
        try:
            while (left := deadline - time.monotonic()) > 0:
                self.socket.settimeout(left)
                if not self.socket.recv(1 << 16):
                    return True
        except TimeoutError:
            pass
        except ConnectionResetError:
            return True
        return False

    def reset(self) -> None:
        """Closes with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "Raw":
        return self

    def __exit__(self, *_) -> None:
        self.close()
