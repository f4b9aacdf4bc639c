"""Requests that are none, for test_hostile.py: what is wrong, the bytes, and words that the answer has."""

import msgpack

from test_refusals import request

REQUEST_BYTES = 1 << 20


def pack(**top) -> bytes:
    return msgpack.packb(top)


def deep(levels: int) -> bytes:
    return b"\x82\xa7service\xa5login\xa4data" + b"\x81\xa1x" * levels + b"\x80"


# Nobody can read these.
UNREADABLE = {
    "white space": (b" " * 100, "EOF"),
    "a byte order mark before JSON": (b'\xef\xbb\xbf{"service":"login"}', "more bytes follow"),
    "JSON in UTF-16": ('{"service":"login"}'.encode("utf-16-le"), "key must be a string"),
    "JSON with single quotes": (b"{'service':'login'}", "key must be a string"),
    "JSON with a comma too many": (b'{"service":"login",}', "trailing comma"),
    "JSON with a comment": (b'{"service":"login" /* me */}', "expected `,` or `}`"),
    "JSON without quotes": (b"{service:login}", "key must be a string"),
    "JSON with NaN, as Python writes it": (b'{"service":"ping","clock":NaN}', "expected value"),
    "JSON with a number beyond all floats": (b'{"service":"ping","clock":1e999}', "number out of range"),
    "JSON with four hundred digits": (b'{"service":"ping","clock":' + b"9" * 400 + b"}", "number out of range"),
    "JSON with half a surrogate": (b'{"service":"\\ud800"}', "hex escape"),
    "JSON with a line break in text": (b'{"service":"log\nin"}', "control character"),
    "two JSON documents": (b'{"service":"login"}{"service":"login"}', "trailing characters"),
    "a JSON list": (b'["login"]', "more bytes follow"),
    "a JSON list after white space": (b' ["login"]', "must be a map"),
    "a JSON text after white space": (b' "login"', "must be a map"),
    "JSON nested 17 deep": (b'{"service":"login","data":' + b'{"x":' * 17 + b"1" + b"}" * 18, "nested more than"),
    "XML": (b"<login><user>x</user></login>", "more bytes follow"),
    "YAML": (b"service: login\ndata: {user: x}\n", "more bytes follow"),
    "a line of a shell": (b"login alice\n", "more bytes follow"),
    "a form": (b"service=login&user=alice", "more bytes follow"),
    "HTTP": (b"POST /login HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "more bytes follow"),
    "TLS": (bytes.fromhex("16030100a5010000a10303") + bytes(60), "more bytes follow"),
    "a pickle": (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x07service\x94s.", "more bytes follow"),
    "CBOR": (bytes.fromhex("a267736572766963656" + "56c6f67696e6464617461a0"), "more bytes follow"),
    "BSON": (b"\x18\x00\x00\x00\x02service\x00\x06\x00\x00\x00login\x00\x00", "more bytes follow"),
    "Protocol Buffers": (b"\x0a\x05login\x12\x07\x0a\x05alice", "expected value"),
    "zeros": (bytes(1000), "more bytes follow"),
    "ones": (b"\xff" * 1000, "more bytes follow"),
    "a reserved byte inside": (b"\x82\xa7service\xa5login\xa4data\xc1", "MessagePack does not use"),
    "a byte string that claims 4 GiB": (b"\x81\xa7service\xc6\xff\xff\xff\xff", "ends early"),
    "an extension that claims 4 GiB": (b"\x81\xa7service\xc9\xff\xff\xff\xff\x01", "ends early"),
    "a short list that claims 65535 entries": (b"\x82\xa7service\xa5login\xa4data\xdc\xff\xff", "ends early"),
    "a map without its last value": (b"\x82\xa7service\xa5login\xa4data", "ends early"),
    "nil as key": (b"\x81\xc0\xa5login", "key that is no text"),
    "a list as key": (b"\x81\x91\x01\xa5login", "list as key"),
    "a map as key": (b"\x81\x81\xa1a\x01\xa5login", "map as key"),
    "an extension as key": (b"\x81\xd4\x01\x00\xa5login", "extension type as key"),
    "maps 17 deep": (deep(17), "nested more than"),
    "more values than anybody sends": (pack(service="login", data={"x": [0] * 15_000}), None),
    "two messages in one": (request("login", user="x") * 2, "more bytes follow"),
    "a service that is a number": (pack(service=1.5), None),
    "a service that is true": (pack(service=True), "`service` is missing"),
    "a service that is not UTF-8": (b"\x81\xa7service\xc4\x02\xff\xfe", "`service` is missing"),
    "a service of nothing but spaces": (pack(service="   "), None),
    "a service of 100 KB": (pack(service="x" * 100_000), "desconhecido"),
    "a service with escapes for a terminal": (pack(service="\x1b[2J\x07\r\n"), "desconhecido"),
    "a service named as success": (pack(service="OK sucesso"), "desconhecido"),
    "data that is text": (pack(service="login", data="user=x"), "`data` must be a map"),
    "data that is a number": (pack(service="login", data=-1), "`data` must be a map"),
    "data that is bytes": (pack(service="login", data=b"x"), "`data` must be a map"),
    "data that is an extension": (pack(service="login", data=msgpack.ExtType(7, b"xyz")), None),
    "one byte more than a request may have": (b"{" + b" " * REQUEST_BYTES, "at most"),
    "ten times what a request may have": (pack(service="ping", data={"x": "y" * (10 * REQUEST_BYTES)}), None),
}

# These can be read, and mean nothing to a server.
MEANINGLESS = {
    "a user that is a map": (request("login", user={"name": "x"}), "`user` must be text"),
    "a user that is true": (request("login", user=True), "`user` must be text"),
    "a user that is nil": (request("login", user=None), "`user` is missing"),
    "a user that is an extension": (request("login", user=msgpack.ExtType(1, b"x")), "`user` is missing"),
    "a user of spaces": (request("login", user="  \u3000 "), "must not be empty"),
    "a user with a zero byte": (request("login", user="a\0b"), "control characters"),
    "a user that rubs itself out": (request("login", user="a\x7f"), "control characters"),
    "a user with a control character of Latin-1": (request("login", user="a\x85b"), "control characters"),
    "a user with a terminal's escape": (request("login", user="\x1b]0;owned\x07"), "control characters"),
    "a user of 129 bytes": (request("login", user="é" * 64 + "x"), "at most 128 bytes"),
    "a channel of 1 MB": (request("channel", channel="x" * 1_000_000), "at most 128 bytes"),
    "a channel that is a list": (request("channel", channel=["x"]), "`channel` must be text"),
    "a message that is a map": (request("publish", user="honest-user", channel="honest", message={}), "`message` must be text"),
    "a message that is not UTF-8": (request("publish", user="honest-user", channel="honest", message=b"\xff"), "`message` must be text"),
    "a message that is nil": (request("publish", user="honest-user", channel="honest", message=None), "`message` is missing"),
    "a recipient that is a reserved topic": (request("message", src="honest-user", dst="servers", message="x"), "reserved"),
    "a post to a reserved topic": (request("publish", user="honest-user", channel="replication", message="x"), "reserved"),
    "a history of nothing": (request("history"), "is missing"),
    "a history whose cursor is a number": (request("history", channel="honest", papo_cursor=7), "no cursor"),
    "a history whose cursor is a list": (request("history", channel="honest", papo_cursor=[b"x"]), "no cursor"),
    "a history of a user that is a map": (request("history", user={}), "`user` must be text"),
    "a subscription without a topic": (request("subscribe", user="x"), "`topic` is missing"),
    "an operation of another server": (request("replicate", type="channel", content={"name": "x"}), "desconhecido"),
    "a claim to lead": (request("claim", user="server-1", boot="f" * 16, seen={"number": 1, "boot": "0" * 16}, reached=9), "desconhecido"),
}

# Nor these to ref.
MEANINGLESS_TO_REF = {
    "a rank of nobody": (request("rank"), "`user` is missing"),
    "a rank of a list": (request("rank", user=["server-1"]), "`user` must be text"),
    "a rank of an empty name": (request("rank", user=""), "empty"),
    "a rank of a name with a line break": (request("rank", user="server-1\nserver-2"), "control characters"),
    "a rank of an endless name": (request("rank", user="x" * 10_000), "at most 128 bytes"),
    "a heartbeat of nobody": (request("heartbeat"), "`user` is missing"),
    "a claim without a token": (request("claim", user="server-3", boot="f" * 16, seen={"number": 2**63, "boot": "f" * 16}, reached=9), None),
    "a report of a map": (request("report", user={}, epoch={}, reached=-1), None),
    "a resignation of another": (request("resign", user="server-3", epoch={"number": 1, "boot": "0" * 16}), None),
    "a login": (request("login", user="x"), "desconhecido"),
}

# Frames after a DEALER's own.
PING = request("ping")
ENVELOPES = {
    "no empty frame before the body": [PING],
    "only the empty frame": [b""],
    "two empty frames": [b"", b"", PING],
    "an identity that nobody asked for": [b"someone", b"", PING],
    "a body in sixty frames": [b"", *(PING[at : at + 1] for at in range(len(PING)))],
    "an empty body": [b"", b""],
}
