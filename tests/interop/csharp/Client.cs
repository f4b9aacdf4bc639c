// The conversation of ../conversation.py on NetMQ: ZeroMQ, MessagePack and the exercise's formats, and nothing that knows papo.
using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using MessagePack;
using NetMQ;
using NetMQ.Sockets;

internal sealed class Publication
{
    public string Topic;
    public string User;
    public string Message;
}

internal sealed class Person
{
    private const string Ready = "ready";
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(200);

    private readonly RequestSocket requests = new RequestSocket();
    private readonly SubscriberSocket publications = new SubscriberSocket();
    private long clock;

    public Person(string broker, string proxy)
    {
        requests.Connect(broker);
        publications.Connect(proxy);
    }

    public bool InOrder { get; private set; } = true;

    public Dictionary<object, object> Ask(string service, params string[] fields)
    {
        clock += 1;
        var data = new Dictionary<string, object>
        {
            ["timestamp"] = DateTimeOffset.UtcNow.ToUnixTimeSeconds(),
            ["clock"] = clock,
        };
        for (var place = 0; place < fields.Length; place += 2)
        {
            data[fields[place]] = fields[place + 1];
        }
        requests.SendFrame(MessagePackSerializer.Serialize(new Dictionary<string, object> { ["service"] = service, ["data"] = data }));
        var reply = (Dictionary<object, object>)Unpack(requests.ReceiveFrameBytes())["data"];
        var theirs = Convert.ToInt64(reply["clock"]);
        InOrder = InOrder && (theirs > clock || Text(reply, "status") == "erro");
        clock = Math.Max(clock, theirs) + 1;
        return reply;
    }

    // Writes to itself until that is heard: then its subscriptions are in force.
    public void Subscribe(string user, params string[] topics)
    {
        foreach (var topic in topics.Append(user))
        {
            publications.Subscribe(topic);
        }
        while (true)
        {
            Ask("message", "src", user, "dst", user, "message", Ready + " " + user);
            var frames = new List<byte[]>();
            while (publications.TryReceiveMultipartBytes(Pause, ref frames, 2))
            {
                if (Read(frames).Message == Ready + " " + user)
                {
                    return;
                }
            }
        }
    }

    public void Unsubscribe(params string[] topics)
    {
        foreach (var topic in topics)
        {
            publications.Unsubscribe(topic);
        }
    }

    public Publication Hear()
    {
        while (true)
        {
            var heard = Read(publications.ReceiveMultipartBytes(2));
            if (!heard.Message.StartsWith(Ready, StringComparison.Ordinal))
            {
                return heard;
            }
        }
    }

    public static string Text(Dictionary<object, object> map, string field)
    {
        return map.TryGetValue(field, out var value) ? value as string : null;
    }

    private Publication Read(List<byte[]> frames)
    {
        var body = Unpack(frames[1]);
        clock = Math.Max(clock, Convert.ToInt64(body["clock"])) + 1;
        return new Publication
        {
            Topic = Encoding.UTF8.GetString(frames[0]),
            User = Text(body, "user"),
            Message = Text(body, "message"),
        };
    }

    private static Dictionary<object, object> Unpack(byte[] bytes)
    {
        return MessagePackSerializer.Deserialize<Dictionary<object, object>>(bytes);
    }
}

internal static class Client
{
    private static int number;

    private static void Main(string[] arguments)
    {
        var sizes = arguments.Skip(2).Select(int.Parse).ToList();
        var alice = new Person(arguments[0], arguments[1]);
        var bob = new Person(arguments[0], arguments[1]);
        for (var name = Console.ReadLine(); name != null; name = Console.ReadLine())
        {
            Converse(alice, bob, name.Trim(), sizes);
        }
        NetMQConfig.Cleanup(false);
    }

    private static void Converse(Person alice, Person bob, string name, List<int> sizes)
    {
        var (her, him, channel) = (name + "-alice", name + "-bob", name + "-geral");
        Say("login", Status(alice.Ask("login", "user", her)), Status(bob.Ask("login", "user", him)));
        Say("channel", Status(alice.Ask("channel", "channel", channel)));
        var channels = (object[])alice.Ask("channels")["channels"];
        var users = (object[])alice.Ask("users")["users"];
        Say("listed", Yes(channels.Contains(channel)), Yes(users.Contains(her) && users.Contains(him)));
        alice.Subscribe(her);
        bob.Subscribe(him, channel);
        foreach (var size in sizes)
        {
            number += 1;
            var text = (number + " ").PadRight(size, 'x');
            var reply = alice.Ask("publish", "user", her, "channel", channel, "message", text);
            if (Status(reply) != "OK")
            {
                Say("publish", Status(reply), Person.Text(reply, "code"));
                continue;
            }
            var post = bob.Hear();
            Say("publish OK", post.Topic, post.User, post.Message.Length.ToString(), Yes(post.Message == text));
        }
        var status = Status(bob.Ask("message", "src", him, "dst", her, "message", "note"));
        var heard = alice.Hear();
        Say("message", status, heard.Topic, heard.User, heard.Message);
        Say("clocks", Yes(alice.InOrder && bob.InOrder));
        alice.Unsubscribe(her);
        bob.Unsubscribe(him, channel);
    }

    private static string Status(Dictionary<object, object> reply)
    {
        return Person.Text(reply, "status");
    }

    private static string Yes(bool answer)
    {
        return answer ? "true" : "false";
    }

    private static void Say(params string[] words)
    {
        Console.WriteLine(string.Join(" ", words));
    }
}
