import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.zeromq.SocketType;
import org.zeromq.ZContext;
import org.zeromq.ZMQ;
import org.zeromq.ZMsg;

/** A socket of JeroMQ as a program, by the contract in ../python/socket_peers.py. */
final class SocketPeer {
    private static final String TOPIC = "news";
    private static final String PROBE = "probe";
    private static final int BEATS_MISSED = 5;
    private static final int DEALER_WINDOW = 50;

    private final ZMQ.Socket socket;
    private final SocketType type;

    private SocketPeer(ZMQ.Socket socket, SocketType type) {
        this.socket = socket;
        this.type = type;
    }

    public static void main(String[] arguments) throws Exception {
        SocketType type = SocketType.valueOf(arguments[0]);
        int heartbeat = Integer.parseInt(arguments[3]);
        ZMQ.Socket socket = new ZContext().createSocket(type);
        socket.setHWM(0);
        if (heartbeat > 0) {
            socket.setHeartbeatIvl(heartbeat);
            socket.setHeartbeatTimeout(heartbeat * BEATS_MISSED);
        }
        String endpoint = "tcp://" + arguments[2];
        if (!(arguments[1].equals("listen") ? socket.bind(endpoint) : socket.connect(endpoint))) {
            throw new IllegalStateException("cannot " + arguments[1]);
        }
        System.out.println("ready");

        SocketPeer peer = new SocketPeer(socket, type);
        switch (type) {
            case REP, ROUTER -> peer.answer();
            case SUB -> peer.subscribe();
            default -> peer.obey();
        }
    }

    private void obey() throws Exception {
        BufferedReader orders = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String order = orders.readLine(); order != null; order = orders.readLine()) {
            String[] words = order.split(" ");
            if (words[0].equals(PROBE)) {
                publish(PROBE.getBytes(StandardCharsets.UTF_8));
                continue;
            }
            int count = Integer.parseInt(words[1]);
            int size = Integer.parseInt(words[2]);
            if (type == SocketType.REQ || type == SocketType.DEALER) {
                ask(count, size);
            } else {
                for (int number = 1; number <= count; number++) {
                    publish(body(number, count, size));
                }
            }
        }
        System.exit(0);
    }

    private void ask(int count, int size) {
        int window = type == SocketType.DEALER ? DEALER_WINDOW : 1;
        for (int first = 1; first <= count; first += window) {
            int last = Math.min(first + window - 1, count);
            for (int number = first; number <= last; number++) {
                if (type == SocketType.DEALER) {
                    socket.sendMore(new byte[0]);
                }
                socket.send(body(number, count, size));
            }
            for (int number = first; number <= last; number++) {
                byte[] answer = ZMsg.recvMsg(socket).getLast().getData();
                if (!Arrays.equals(answer, body(number, count, size))) {
                    throw new IllegalStateException("answer " + number + " of " + count + " is another, or changed");
                }
            }
        }
        System.out.println("ok " + count);
    }

    private void publish(byte[] body) {
        socket.sendMore(TOPIC);
        socket.send(body);
    }

    private void answer() {
        while (true) {
            ZMsg.recvMsg(socket).send(socket);
        }
    }

    private void subscribe() {
        socket.subscribe(TOPIC);
        int heard = 0;
        while (true) {
            List<byte[]> frames = new ArrayList<>();
            ZMsg.recvMsg(socket).forEach(frame -> frames.add(frame.getData()));
            if (frames.size() != 2 || !new String(frames.get(0), StandardCharsets.UTF_8).equals(TOPIC)) {
                throw new IllegalStateException(frames.size() + " frames, or another topic");
            }
            byte[] message = frames.get(1);
            if (Arrays.equals(message, PROBE.getBytes(StandardCharsets.UTF_8))) {
                System.out.println(PROBE);
                continue;
            }
            heard++;
            String start = new String(message, 0, Math.min(32, message.length), StandardCharsets.UTF_8);
            int count = Integer.parseInt(start.split(" ")[1]);
            if (!Arrays.equals(message, body(heard, count, message.length))) {
                throw new IllegalStateException("message " + heard + " of " + count + " is another, or changed");
            }
            if (heard == count) {
                heard = 0;
                System.out.println("ok " + count);
            }
        }
    }

    private static byte[] body(int number, int count, int size) {
        byte[] start = (number + " " + count + " ").getBytes(StandardCharsets.UTF_8);
        byte[] body = Arrays.copyOf(start, Math.max(size, start.length));
        Arrays.fill(body, start.length, body.length, (byte) ('a' + number % 26));
        return body;
    }
}
