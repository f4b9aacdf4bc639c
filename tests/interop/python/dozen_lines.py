"""Two people chat in a dozen lines that know nothing of papo: only ZeroMQ, MessagePack and the exercise's formats."""
import sys, time, msgpack, zmq

BROKER, PROXY = sys.argv[1:] or ("tcp://127.0.0.1:5555", "tcp://127.0.0.1:5558")

def connect(kind, address, *topics):
    socket = zmq.Context.instance().socket(kind)
    socket.connect(address)
    for topic in topics: socket.subscribe(topic)
    return socket
def ask(socket, service, **data):
    socket.send(msgpack.packb({"service": service, "data": {**data, "timestamp": int(time.time())}}))
    return msgpack.unpackb(socket.recv())["data"]
def hear(socket):
    topic, body = socket.recv_multipart()
    return topic.decode(), msgpack.unpackb(body)["user"], msgpack.unpackb(body)["message"]

alice, bob = connect(zmq.REQ, BROKER), connect(zmq.REQ, BROKER)
alice_hears, bob_hears = connect(zmq.SUB, PROXY, "geral", "alice"), connect(zmq.SUB, PROXY, "geral", "bob")
print(ask(alice, "login", user="alice")["status"], ask(alice, "channel", channel="geral")["status"])
print(ask(alice, "channels")["channels"], ask(alice, "users")["users"], ask(bob, "login", user="bob")["status"])
time.sleep(1)  # As long as any ZeroMQ subscriber gives its subscription to arrive.
print(ask(alice, "publish", user="alice", channel="geral", message="oi")["status"], *hear(bob_hears))
print(ask(bob, "message", src="bob", dst="alice", message="tudo bem?")["status"], *hear(alice_hears), *hear(alice_hears))
