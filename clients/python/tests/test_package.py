"""The package as a whole: its types, its wheel, and its examples as programs."""

import asyncio
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import Where
from test_chat import chat_of

HERE = Path(__file__).parents[1]


def run(*command: str | Path) -> None:
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_types_are_strictly_right(tmp_path: Path) -> None:
    run(sys.executable, "-m", "mypy", "--cache-dir", tmp_path)


def test_its_wheel_holds_code_and_types(tmp_path: Path) -> None:
    run(sys.executable, "-m", "pip", "wheel", ".", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", tmp_path)
    [wheel] = tmp_path.glob("papo_client-*-py3-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"papo_client/__init__.py", "papo_client/py.typed"} <= set(names)
    assert len([name for name in names if name.endswith(".py")]) == len(list((HERE / "src/papo_client").glob("*.py")))


def example(name: str, cluster: Where, *options: str) -> subprocess.Popen[str]:
    addresses = ["--broker", *cluster.brokers, "--proxy", *cluster.proxies]
    command: list[str | Path] = [sys.executable, HERE / "examples" / name, *addresses, *options]
    environment = {"PYTHONPATH": str(HERE / "src")}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def types(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def test_two_people_talk_by_the_example_chat(cluster: Where) -> None:
    channel, ana, bento = cluster.name("channel"), cluster.name("ana"), cluster.name("bento")
    people = []
    try:
        for user in (ana, bento):
            people.append(example("chat.py", cluster, "--user", user, "--channel", channel))
            assert said(people[-1]) == f"you are {user} in #{channel}; Ctrl-D leaves"
        types(people[0], "bom dia!")
        assert said(people[1]) == f"#{channel} {ana}: bom dia!"
        types(people[1], f"@{ana} tudo bem?")
        assert said(people[0]) == f"(to you) {bento}: tudo bem?"
        for person in people:
            person.communicate(timeout=20)
            assert person.returncode == 0
    finally:
        for person in people:
            person.kill()
            person.wait()


def test_the_example_bot_answers_once_however_often_it_is_killed(cluster: Where, tmp_path: Path) -> None:
    user, bookmark = cluster.name("echo"), tmp_path / "bookmark"

    async def main() -> None:
        async with chat_of(cluster) as chat, chat_of(cluster, user):
            async with chat.listen(direct=True) as stream:
                answers = []
                for kill in range(3):
                    bot = example("bot.py", cluster, "--user", user, "--bookmark", str(bookmark))
                    try:
                        assert await asyncio.to_thread(said, bot) == "ready"
                        for number in range(5):
                            await chat.send(user, f"{kill}.{number}")
                        # Killed while it has yet to answer some.
                        async with asyncio.timeout(30):
                            answers += [(await anext(stream)).text for _ in range(3)]
                    finally:
                        bot.kill()
                        bot.wait()
                bot = example("bot.py", cluster, "--user", user, "--bookmark", str(bookmark))
                try:
                    async with asyncio.timeout(30):
                        answers += [(await anext(stream)).text for _ in range(6)]
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(1):
                            answers.append((await anext(stream)).text)
                finally:
                    bot.kill()
                    bot.wait()
                assert sorted(answers) == sorted(f"you said: {kill}.{number}" for kill in range(3) for number in range(5))

    asyncio.run(main())
