// The conversation of ../conversation.py on cppzmq: ZeroMQ, MessagePack and the exercise's formats, and nothing that knows papo.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>
#include <zmq.hpp>
#include <zmq_addon.hpp>

using nlohmann::json;

const std::string READY = "ready";

struct Publication {
    std::string topic, user, message;
};

class Person {
  public:
    std::int64_t clock = 0;
    bool in_order = true;

    Person(zmq::context_t &context, const std::string &broker, const std::string &proxy)
        : requests(context, zmq::socket_type::req), publications(context, zmq::socket_type::sub) {
        requests.connect(broker);
        publications.connect(proxy);
    }

    json ask(const std::string &service, json data = json::object()) {
        clock += 1;
        data["timestamp"] = std::time(nullptr);
        data["clock"] = clock;
        const auto request = json::to_msgpack({{"service", service}, {"data", data}});
        requests.send(zmq::buffer(request), zmq::send_flags::none);
        zmq::message_t answer;
        (void)requests.recv(answer);
        json reply = unpack(answer)["data"];
        const auto theirs = reply["clock"].get<std::int64_t>();
        in_order = in_order && (theirs > clock || reply.value("status", "") == "erro");
        clock = std::max(clock, theirs) + 1;
        return reply;
    }

    // Writes to itself until that is heard: then its subscriptions are in force.
    void subscribe(const std::string &user, const std::vector<std::string> &topics = {}) {
        for (const auto &topic : topics) publications.set(zmq::sockopt::subscribe, topic);
        publications.set(zmq::sockopt::subscribe, user);
        for (;;) {
            ask("message", {{"src", user}, {"dst", user}, {"message", READY + " " + user}});
            while (const auto heard = receive(std::chrono::milliseconds(200)))
                if (heard->message == READY + " " + user) return;
        }
    }

    void unsubscribe(const std::string &topic) { publications.set(zmq::sockopt::unsubscribe, topic); }

    Publication hear() {
        for (;;) {
            const auto heard = receive(std::chrono::milliseconds(-1));
            if (heard->message.rfind(READY, 0) != 0) return *heard;
        }
    }

  private:
    zmq::socket_t requests, publications;

    static json unpack(const zmq::message_t &message) {
        const auto *bytes = message.data<std::uint8_t>();
        return json::from_msgpack(bytes, bytes + message.size());
    }

    // What comes in time; -1 waits for ever.
    std::optional<Publication> receive(std::chrono::milliseconds patience) {
        zmq::pollitem_t item{publications.handle(), 0, ZMQ_POLLIN, 0};
        if (zmq::poll(&item, 1, patience) == 0) return std::nullopt;
        std::vector<zmq::message_t> frames;
        (void)zmq::recv_multipart(publications, std::back_inserter(frames));
        const json body = unpack(frames.at(1));
        clock = std::max(clock, body["clock"].get<std::int64_t>()) + 1;
        return Publication{frames.at(0).to_string(), body["user"], body["message"]};
    }
};

bool contains(const json &names, const std::string &name) { return std::find(names.begin(), names.end(), name) != names.end(); }

std::string text(const json &reply, const char *field) { return reply[field].get<std::string>(); }

void converse(Person &alice, Person &bob, const std::string &name, const std::vector<std::size_t> &sizes) {
    static int number = 0;
    const auto her = name + "-alice", him = name + "-bob", channel = name + "-geral";
    const auto hers = alice.ask("login", {{"user", her}}), his = bob.ask("login", {{"user", him}});
    std::cout << "login " << text(hers, "status") << " " << text(his, "status") << std::endl;
    std::cout << "channel " << text(alice.ask("channel", {{"channel", channel}}), "status") << std::endl;
    const json channels = alice.ask("channels")["channels"], users = alice.ask("users")["users"];
    std::cout << "listed " << contains(channels, channel) << " " << (contains(users, her) && contains(users, him)) << std::endl;
    alice.subscribe(her);
    bob.subscribe(him, {channel});
    for (const auto size : sizes) {
        auto words = std::to_string(++number) + " ";
        words.resize(std::max(size, words.size()), 'x');
        const json reply = alice.ask("publish", {{"user", her}, {"channel", channel}, {"message", words}});
        if (reply["status"] != "OK") {
            std::cout << "publish " << text(reply, "status") << " " << text(reply, "code") << std::endl;
            continue;
        }
        const auto heard = bob.hear();
        std::cout << "publish OK " << heard.topic << " " << heard.user << " " << heard.message.size() << " "
                  << (heard.message == words) << std::endl;
    }
    const json reply = bob.ask("message", {{"src", him}, {"dst", her}, {"message", "note"}});
    const auto heard = alice.hear();
    std::cout << "message " << text(reply, "status") << " " << heard.topic << " " << heard.user << " " << heard.message << std::endl;
    std::cout << "clocks " << (alice.in_order && bob.in_order) << std::endl;
    alice.unsubscribe(her);
    bob.unsubscribe(him);
    bob.unsubscribe(channel);
}

int main(int count, char **arguments) {
    if (count < 3) {
        std::cerr << "usage: client BROKER PROXY LETTERS...\n";
        return 2;
    }
    std::vector<std::size_t> sizes;
    for (int place = 3; place < count; ++place) sizes.push_back(std::stoul(arguments[place]));
    std::cout << std::boolalpha;
    zmq::context_t context;
    Person alice(context, arguments[1], arguments[2]), bob(context, arguments[1], arguments[2]);
    for (std::string name; std::getline(std::cin, name);) converse(alice, bob, name, sizes);
}
