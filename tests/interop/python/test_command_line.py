"""Bad input gets one clear line that names the thing, and an exit code that is not 0."""

import socket
import subprocess

import pytest

from conftest import MANIFEST, PAPO


# What follows the line about a wrong option.
HINTS = ("Usage:", "For more information")


def refusal(*arguments, **options) -> str:
    """The one line that papo says before it gives up."""
    done = subprocess.run(
        [PAPO, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, **options
    )
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip() and not line.startswith(HINTS)]
    assert done.returncode not in (0, None) and done.returncode > 0, said
    assert len(said) == 1, f"one line, not {len(said)}:\n" + "\n".join(said)
    for word in ("panicked", "RUST_BACKTRACE", "Os {"):
        assert word not in said[0]
    return said[0]


@pytest.fixture
def manifest(tmp_path):
    def write(spec: str):
        path = tmp_path / "chatcluster.yaml"
        path.write_text(f"apiVersion: papo.dev/v1alpha1\nkind: ChatCluster\nmetadata:\n  name: papo\nspec:\n{spec}\n")
        return path

    return write


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("  replica: 3", ["replica", "replicas"]),
        ("  broker:\n    timeout: 3", ["timeout"]),
        ("  replicas: 0", ["spec.replicas", "0"]),
        ("  replicas: three", ["replicas", "three"]),
        ("  replicas: -1", ["replicas", "-1"]),
        ("  durability: most", ["durability", "most", "majority"]),
        ("  broker: {deadlineSeconds: 3, serverDeadlineSeconds: 3}", ["spec.broker.deadlineSeconds"]),
    ],
)
def test_a_manifest_that_cannot_work_is_refused_with_its_field(manifest, tmp_path, spec, names):
    line = refusal("local", "-f", manifest(spec), "--data", tmp_path / "data")
    assert all(name in line for name in names), line


def test_a_file_that_is_no_manifest_is_refused(tmp_path):
    other = tmp_path / "service.yaml"
    other.write_text("apiVersion: v1\nkind: Service\n")
    assert "ChatCluster" in refusal("local", "-f", other, "--data", tmp_path / "data")
    broken = tmp_path / "broken.yaml"
    broken.write_text("kind: [")
    assert "broken.yaml" in refusal("local", "-f", broken, "--data", tmp_path / "data")


def test_a_missing_file_is_named(tmp_path):
    assert "nowhere.yaml" in refusal("local", "-f", tmp_path / "nowhere.yaml", "--data", tmp_path / "data")


def test_a_port_out_of_range_is_named():
    assert "99999" in refusal("chat", "--broker", "127.0.0.1:99999", "--user", "ana")


def test_a_data_folder_that_is_a_file_is_named(tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("not a folder")
    assert str(taken) in refusal("local", "-f", MANIFEST, "--data", taken)


def test_a_data_folder_that_nobody_can_write_is_named():
    # Not even root makes folders in /proc.
    assert "/proc/papo-data" in refusal("local", "-f", MANIFEST, "--data", "/proc/papo-data")


def test_a_port_taken_by_a_stranger_is_named(tmp_path):
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", 5558))
        stranger.listen()
        assert "5558" in refusal("local", "-f", MANIFEST, "--data", tmp_path / "data")


def test_a_second_cluster_on_the_same_ports_is_refused_with_the_port(cluster, tmp_path):
    assert "5555" in refusal("local", "-f", MANIFEST, "--data", tmp_path / "second")
