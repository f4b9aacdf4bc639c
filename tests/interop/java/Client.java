import java.io.IOException;
import java.time.Instant;
import java.util.Arrays;
import java.util.Map;
import org.msgpack.core.MessageBufferPacker;
import org.msgpack.core.MessagePack;
import org.msgpack.value.Value;
import org.msgpack.value.ValueFactory;
import org.zeromq.SocketType;
import org.zeromq.ZContext;
import org.zeromq.ZMQ;

/**
 * A chat client on JeroMQ, by the contract in ../python/test_languages.py.
 * ZeroMQ, MessagePack and the exercise's formats, and nothing that knows papo.
 */
final class Client {
    private static final String READY = "ready";
    private static final int PATIENCE_MS = 3000;
    private static final int PAUSE_MS = 200;

    private final ZContext context = new ZContext();
    private final ZMQ.Socket requests = context.createSocket(SocketType.REQ);
    private final ZMQ.Socket publications = context.createSocket(SocketType.SUB);

    private Client(String broker, String proxy, String... topics) {
        requests.connect(broker);
        publications.connect(proxy);
        for (String topic : topics) {
            publications.subscribe(topic);
        }
    }

    /**
     * A client whose sockets are connected. In JeroMQ 0.6.0 the first connection of a socket can be lost for ever, whoever
     * listens (its poller drops a channel that is registered twice in one round): then another client is made.
     */
    private static Client connected(String broker, String proxy, String user, String channel) throws IOException {
        while (true) {
            Client chat = new Client(broker, proxy, user, channel);
            chat.requests.setReceiveTimeOut(PATIENCE_MS);
            if (chat.ask("login", Map.of("user", user)) != null && chat.isSubscribed(user)) {
                chat.requests.setReceiveTimeOut(-1);
                return chat;
            }
            chat.context.close();
        }
    }

    private record Publication(String topic, String user, String message) {}

    public static void main(String[] arguments) throws IOException {
        String user = arguments[2] + "-user";
        String channel = arguments[2] + "-channel";
        Client chat = connected(arguments[0], arguments[1], user, channel);

        say("login", text(chat.ask("login", Map.of("user", user)), "status"));
        say("channel", text(chat.ask("channel", Map.of("channel", channel)), "status"));
        say("listed", contains(chat.ask("channels", Map.of()), "channels", channel), contains(chat.ask("users", Map.of()), "users", user));

        for (String letters : Arrays.copyOfRange(arguments, 3, arguments.length)) {
            String text = "x".repeat(Integer.parseInt(letters));
            Map<Value, Value> reply = chat.ask("publish", Map.of("user", user, "channel", channel, "message", text));
            if (!text(reply, "status").equals("OK")) {
                say("publish", text(reply, "status"), text(reply, "code"));
                continue;
            }
            Publication heard = chat.hear();
            say("publish", "OK", heard.topic, heard.user, heard.message.length(), heard.message.equals(text));
        }
        Map<Value, Value> reply = chat.ask("message", Map.of("src", user, "dst", user, "message", "note"));
        Publication heard = chat.hear();
        say("message", text(reply, "status"), heard.topic, heard.user, heard.message);
        System.exit(0);
    }

    private Map<Value, Value> ask(String service, Map<String, String> data) throws IOException {
        try (MessageBufferPacker request = MessagePack.newDefaultBufferPacker()) {
            request.packMapHeader(2).packString("service").packString(service).packString("data");
            request.packMapHeader(data.size() + 1).packString("timestamp").packLong(Instant.now().getEpochSecond());
            for (Map.Entry<String, String> field : data.entrySet()) {
                request.packString(field.getKey()).packString(field.getValue());
            }
            requests.send(request.toByteArray());
        }
        byte[] reply = requests.recv();
        return reply == null ? null : field(unpack(reply), "data").asMapValue().map();
    }

    /** Writes to itself until that is heard: then its subscriptions are in force. */
    private boolean isSubscribed(String user) throws IOException {
        publications.setReceiveTimeOut(PAUSE_MS);
        for (int waited = 0; waited < PATIENCE_MS; waited += PAUSE_MS) {
            ask("message", Map.of("src", user, "dst", user, "message", READY));
            if (publications.recvStr() != null) {
                publications.setReceiveTimeOut(-1);
                publications.recv();
                return true;
            }
        }
        return false;
    }

    private Publication hear() throws IOException {
        while (true) {
            String topic = publications.recvStr();
            Map<Value, Value> body = unpack(publications.recv());
            if (!text(body, "message").equals(READY)) {
                return new Publication(topic, text(body, "user"), text(body, "message"));
            }
        }
    }

    private static Map<Value, Value> unpack(byte[] body) throws IOException {
        return MessagePack.newDefaultUnpacker(body).unpackValue().asMapValue().map();
    }

    private static Value field(Map<Value, Value> map, String name) {
        return map.get(ValueFactory.newString(name));
    }

    private static String text(Map<Value, Value> map, String name) {
        return field(map, name).asStringValue().asString();
    }

    private static boolean contains(Map<Value, Value> map, String list, String name) {
        return field(map, list).asArrayValue().list().contains(ValueFactory.newString(name));
    }

    private static void say(Object... words) {
        System.out.println(String.join(" ", Arrays.stream(words).map(String::valueOf).toList()));
    }
}
