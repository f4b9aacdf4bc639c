// A chat client on go-zeromq, by the contract in ../../python/test_languages.py.
// ZeroMQ, MessagePack and the exercise's formats, and nothing that knows papo.
package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-zeromq/zmq4"
	"github.com/vmihailenco/msgpack/v5"
)

const ready = "ready"

type fields map[string]any

type publication struct {
	topic string
	body  struct {
		User    string `msgpack:"user"`
		Message string `msgpack:"message"`
	}
}

type client struct {
	requests     zmq4.Socket
	publications chan publication
}

func main() {
	broker, proxy, name := os.Args[1], os.Args[2], os.Args[3]
	user, channel := name+"-user", name+"-channel"
	chat := connect(broker, proxy, user, channel)

	fmt.Println("login", chat.ask("login", fields{"user": user})["status"])
	fmt.Println("channel", chat.ask("channel", fields{"channel": channel})["status"])
	channels, users := chat.ask("channels", nil)["channels"].([]any), chat.ask("users", nil)["users"].([]any)
	fmt.Println("listed", slices.Contains(channels, any(channel)), slices.Contains(users, any(user)))
	chat.untilSubscribed(user)

	for _, argument := range os.Args[4:] {
		letters, err := strconv.Atoi(argument)
		must(err)
		text := strings.Repeat("x", letters)
		reply := chat.ask("publish", fields{"user": user, "channel": channel, "message": text})
		if reply["status"] != "OK" {
			fmt.Println("publish", reply["status"], reply["code"])
			continue
		}
		heard := chat.hear()
		fmt.Println("publish", reply["status"], heard.topic, heard.body.User, len(heard.body.Message), heard.body.Message == text)
	}
	status := chat.ask("message", fields{"src": user, "dst": user, "message": "note"})["status"]
	heard := chat.hear()
	fmt.Println("message", status, heard.topic, heard.body.User, heard.body.Message)
}

func connect(broker, proxy string, topics ...string) *client {
	chat := &client{zmq4.NewReq(context.Background()), make(chan publication)}
	must(chat.requests.Dial(broker))
	subscriber := zmq4.NewSub(context.Background())
	must(subscriber.Dial(proxy))
	for _, topic := range topics {
		must(subscriber.SetOption(zmq4.OptionSubscribe, topic))
	}
	go func() {
		for {
			message, err := subscriber.Recv()
			must(err)
			heard := publication{topic: string(message.Frames[0])}
			must(msgpack.Unmarshal(message.Frames[1], &heard.body))
			chat.publications <- heard
		}
	}()
	return chat
}

func (chat *client) ask(service string, data fields) fields {
	if data == nil {
		data = fields{}
	}
	data["timestamp"] = time.Now().Unix()
	request, err := msgpack.Marshal(fields{"service": service, "data": data})
	must(err)
	must(chat.requests.Send(zmq4.NewMsg(request)))
	answer, err := chat.requests.Recv()
	must(err)
	var reply struct {
		Data fields `msgpack:"data"`
	}
	must(msgpack.Unmarshal(answer.Frames[0], &reply))
	return reply.Data
}

// Writes to itself until that is heard: then its subscriptions are in force.
func (chat *client) untilSubscribed(user string) {
	for {
		chat.ask("message", fields{"src": user, "dst": user, "message": ready})
		select {
		case <-chat.publications:
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (chat *client) hear() publication {
	for {
		if heard := <-chat.publications; heard.body.Message != ready {
			return heard
		}
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
