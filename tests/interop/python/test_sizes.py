"""JSON against MessagePack, message by message (row L10)."""

import json
import os
import re
import subprocess
from pathlib import Path

import msgpack

from conftest import PAPO

ROOT = Path(__file__).resolve().parents[3]
ROW = re.compile(r"^\| (.+) \| (\d+) \| (\d+) \| ([\d.]+) % \|$", re.M)


def test_b05_l10_the_login_that_s3_quotes_has_66_bytes_of_json_and_47_of_messagepack():
    login = {"service": "login", "data": {"user": "alice", "timestamp": 1234567890}}
    quoted = b"\x82\xa7service\xa5login\xa4data\x82\xa4user\xa5alice\xa9timestamp\xce\x49\x96\x02\xd2"
    assert msgpack.packb(login) == quoted and len(quoted) == 47
    in_json = b'{"service":"login","data":{"user":"alice","timestamp":1234567890}}'
    assert json.dumps(login, separators=(",", ":")).encode() == in_json and len(in_json) == 66
    assert f"{100 * (1 - len(quoted) / len(in_json)):.1f}" == "28.8"


def test_l10_messagepack_is_a_quarter_smaller_for_every_service_and_the_table_is_the_documents():
    done = subprocess.run([ROOT / "bench" / "sizes"], env={**os.environ, "PAPO_BIN": PAPO}, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    rows = {name: (int(in_json), int(in_msgpack)) for name, in_json, in_msgpack, _ in ROW.findall(done.stdout)}
    assert rows["`login`, request"] == (66, 47)
    assert {"publish", "message", "users", "channels", "history", "sync", "rank", "list"} <= {re.sub("`(.*)`.*", r"\1", name) for name in rows}
    smaller = {name: 1 - in_msgpack / in_json for name, (in_json, in_msgpack) in rows.items()}
    # A refusal is mostly text for people.
    assert all(part > 0.2 for name, part in smaller.items() if "refused" not in name), smaller
    total = 1 - sum(in_msgpack for _, in_msgpack in rows.values()) / sum(in_json for in_json, _ in rows.values())
    assert 0.2 < total < 0.35
    assert done.stdout in (ROOT / "docs" / "wire.md").read_text(), "docs/wire.md, section 14, is what bench/sizes prints"
