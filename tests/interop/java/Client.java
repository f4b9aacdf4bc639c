import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
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

/** The conversation of ../conversation.py on JeroMQ: ZeroMQ, MessagePack and the exercise's formats, and nothing that knows papo. */
final class Client {
    private static int number;

    private record Publication(String topic, String user, String message) {}

    private static final class Person {
        private static final String READY = "ready";
        private static final int PATIENCE_MS = 3000;
        private static final int PAUSE_MS = 200;
        private static final int FOREVER = -1;

        private final ZContext context = new ZContext();
        private final ZMQ.Socket requests = context.createSocket(SocketType.REQ);
        private final ZMQ.Socket publications = context.createSocket(SocketType.SUB);
        private long clock;
        private boolean inOrder = true;

        private Person(String broker, String proxy) {
            requests.connect(broker);
            publications.connect(proxy);
        }

        /**
         * A person whose sockets are connected. In JeroMQ 0.6.0 the first connection of a socket can be lost for ever, whoever
         * listens (its poller drops a channel that is registered twice in one round): then another is made.
         */
        static Person connected(String broker, String proxy, String user) throws IOException {
            while (true) {
                Person person = new Person(broker, proxy);
                person.requests.setReceiveTimeOut(PATIENCE_MS);
                if (person.ask("login", Map.of("user", user)) != null && person.subscribe(PATIENCE_MS, user)) {
                    person.requests.setReceiveTimeOut(FOREVER);
                    person.unsubscribe(user);
                    return person;
                }
                person.context.close();
            }
        }

        Map<Value, Value> ask(String service, Map<String, String> data) throws IOException {
            clock += 1;
            try (MessageBufferPacker request = MessagePack.newDefaultBufferPacker()) {
                request.packMapHeader(2).packString("service").packString(service).packString("data");
                request.packMapHeader(data.size() + 2).packString("timestamp").packLong(Instant.now().getEpochSecond());
                request.packString("clock").packLong(clock);
                for (Map.Entry<String, String> field : data.entrySet()) {
                    request.packString(field.getKey()).packString(field.getValue());
                }
                requests.send(request.toByteArray());
            }
            byte[] answer = requests.recv();
            if (answer == null) {
                return null;
            }
            Map<Value, Value> reply = field(unpack(answer), "data").asMapValue().map();
            inOrder &= clockOf(reply) > clock || ValueFactory.newString("erro").equals(field(reply, "status"));
            clock = Math.max(clock, clockOf(reply)) + 1;
            return reply;
        }

        /** Writes to itself until that is heard, then its subscriptions are in force; or until it was tried for so long. */
        boolean subscribe(long patience, String user, String... topics) throws IOException {
            for (String topic : topics) {
                publications.subscribe(topic);
            }
            publications.subscribe(user);
            publications.setReceiveTimeOut(PAUSE_MS);
            for (long waited = 0; waited < patience; waited += PAUSE_MS) {
                ask("message", Map.of("src", user, "dst", user, "message", READY + " " + user));
                for (Publication heard = receive(); heard != null; heard = receive()) {
                    if (heard.message.equals(READY + " " + user)) {
                        publications.setReceiveTimeOut(FOREVER);
                        return true;
                    }
                }
            }
            return false;
        }

        void unsubscribe(String... topics) {
            for (String topic : topics) {
                publications.unsubscribe(topic);
            }
        }

        Publication hear() throws IOException {
            while (true) {
                Publication heard = receive();
                if (!heard.message.startsWith(READY)) {
                    return heard;
                }
            }
        }

        private Publication receive() throws IOException {
            String topic = publications.recvStr();
            if (topic == null) {
                return null;
            }
            Map<Value, Value> body = unpack(publications.recv());
            clock = Math.max(clock, clockOf(body)) + 1;
            return new Publication(topic, text(body, "user"), text(body, "message"));
        }
    }

    public static void main(String[] arguments) throws IOException {
        int[] sizes = Arrays.stream(arguments).skip(2).mapToInt(Integer::parseInt).toArray();
        Person alice = Person.connected(arguments[0], arguments[1], "jeromq-alice");
        Person bob = Person.connected(arguments[0], arguments[1], "jeromq-bob");
        BufferedReader names = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String name = names.readLine(); name != null; name = names.readLine()) {
            converse(alice, bob, name.strip(), sizes);
        }
        System.exit(0);
    }

    private static void converse(Person alice, Person bob, String name, int[] sizes) throws IOException {
        String her = name + "-alice";
        String him = name + "-bob";
        String channel = name + "-geral";
        say("login", text(alice.ask("login", Map.of("user", her)), "status"), text(bob.ask("login", Map.of("user", him)), "status"));
        say("channel", text(alice.ask("channel", Map.of("channel", channel)), "status"));
        Map<Value, Value> channels = alice.ask("channels", Map.of());
        Map<Value, Value> users = alice.ask("users", Map.of());
        say("listed", contains(channels, "channels", channel), contains(users, "users", her) && contains(users, "users", him));
        alice.subscribe(Long.MAX_VALUE, her);
        bob.subscribe(Long.MAX_VALUE, him, channel);
        for (int size : sizes) {
            number += 1;
            String start = number + " ";
            String text = start + "x".repeat(Math.max(0, size - start.length()));
            Map<Value, Value> reply = alice.ask("publish", Map.of("user", her, "channel", channel, "message", text));
            if (!text(reply, "status").equals("OK")) {
                say("publish", text(reply, "status"), text(reply, "code"));
                continue;
            }
            Publication heard = bob.hear();
            say("publish OK", heard.topic, heard.user, heard.message.length(), heard.message.equals(text));
        }
        Map<Value, Value> reply = bob.ask("message", Map.of("src", him, "dst", her, "message", "note"));
        Publication heard = alice.hear();
        say("message", text(reply, "status"), heard.topic, heard.user, heard.message);
        say("clocks", alice.inOrder && bob.inOrder);
        alice.unsubscribe(her);
        bob.unsubscribe(him, channel);
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

    private static long clockOf(Map<Value, Value> map) {
        return field(map, "clock").asIntegerValue().asLong();
    }

    private static boolean contains(Map<Value, Value> map, String list, String name) {
        return field(map, list).asArrayValue().list().contains(ValueFactory.newString(name));
    }

    private static void say(Object... words) {
        System.out.println(String.join(" ", Arrays.stream(words).map(String::valueOf).toList()));
    }
}
