// The conversation of ../../conversation.py on go-zeromq: ZeroMQ, MessagePack and the exercise's formats, and nothing that knows papo.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
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
		Clock   int64  `msgpack:"clock"`
	}
}

type person struct {
	requests     zmq4.Socket
	subscriber   zmq4.Socket
	publications chan publication
	// Publications are received beside the requests.
	clock   atomic.Int64
	inOrder bool
}

func main() {
	broker, proxy := os.Args[1], os.Args[2]
	var sizes []int
	for _, argument := range os.Args[3:] {
		letters, err := strconv.Atoi(argument)
		must(err)
		sizes = append(sizes, letters)
	}
	alice, bob := connect(broker, proxy), connect(broker, proxy)
	names := bufio.NewScanner(os.Stdin)
	for names.Scan() {
		converse(alice, bob, strings.TrimSpace(names.Text()), sizes)
	}
}

var number int

func converse(alice, bob *person, name string, sizes []int) {
	her, him, channel := name+"-alice", name+"-bob", name+"-geral"
	fmt.Println("login", alice.ask("login", fields{"user": her})["status"], bob.ask("login", fields{"user": him})["status"])
	fmt.Println("channel", alice.ask("channel", fields{"channel": channel})["status"])
	channels, users := alice.ask("channels", fields{})["channels"].([]any), alice.ask("users", fields{})["users"].([]any)
	fmt.Println("listed", slices.Contains(channels, any(channel)), slices.Contains(users, any(her)) && slices.Contains(users, any(him)))
	alice.subscribe(her)
	bob.subscribe(him, channel)
	for _, size := range sizes {
		number++
		text := fmt.Sprintf("%d ", number)
		text += strings.Repeat("x", max(0, size-len(text)))
		reply := alice.ask("publish", fields{"user": her, "channel": channel, "message": text})
		if reply["status"] != "OK" {
			fmt.Println("publish", reply["status"], reply["code"])
			continue
		}
		heard := bob.hear()
		fmt.Println("publish OK", heard.topic, heard.body.User, len(heard.body.Message), heard.body.Message == text)
	}
	status := bob.ask("message", fields{"src": him, "dst": her, "message": "note"})["status"]
	heard := alice.hear()
	fmt.Println("message", status, heard.topic, heard.body.User, heard.body.Message)
	fmt.Println("clocks", alice.inOrder && bob.inOrder)
	alice.unsubscribe(her)
	bob.unsubscribe(him, channel)
}

func connect(broker, proxy string) *person {
	one := &person{
		requests:     zmq4.NewReq(context.Background()),
		subscriber:   zmq4.NewSub(context.Background()),
		publications: make(chan publication, 100),
		inOrder:      true,
	}
	must(one.requests.Dial(broker))
	must(one.subscriber.Dial(proxy))
	go func() {
		for {
			message, err := one.subscriber.Recv()
			must(err)
			heard := publication{topic: string(message.Frames[0])}
			must(msgpack.Unmarshal(message.Frames[1], &heard.body))
			one.received(heard.body.Clock)
			one.publications <- heard
		}
	}()
	return one
}

func (one *person) received(clock int64) {
	for {
		own := one.clock.Load()
		if one.clock.CompareAndSwap(own, max(own, clock)+1) {
			return
		}
	}
}

func (one *person) ask(service string, data fields) fields {
	sent := one.clock.Add(1)
	data["timestamp"], data["clock"] = time.Now().Unix(), sent
	request, err := msgpack.Marshal(fields{"service": service, "data": data})
	must(err)
	must(one.requests.Send(zmq4.NewMsg(request)))
	answer, err := one.requests.Recv()
	must(err)
	var reply struct {
		Data  fields `msgpack:"data"`
		Clock int64  `msgpack:"clock"`
	}
	must(msgpack.Unmarshal(answer.Frames[0], &reply))
	one.inOrder = one.inOrder && (reply.Clock > sent || reply.Data["status"] == "erro")
	one.received(reply.Clock)
	return reply.Data
}

// Writes to itself until that is heard: then its subscriptions are in force.
func (one *person) subscribe(user string, topics ...string) {
	for _, topic := range append(topics, user) {
		must(one.subscriber.SetOption(zmq4.OptionSubscribe, topic))
	}
	for {
		one.ask("message", fields{"src": user, "dst": user, "message": ready + " " + user})
		patience := time.After(200 * time.Millisecond)
		for waiting := true; waiting; {
			select {
			case heard := <-one.publications:
				if heard.body.Message == ready+" "+user {
					return
				}
			case <-patience:
				waiting = false
			}
		}
	}
}

func (one *person) unsubscribe(topics ...string) {
	for _, topic := range topics {
		must(one.subscriber.SetOption(zmq4.OptionUnsubscribe, topic))
	}
}

func (one *person) hear() publication {
	for {
		if heard := <-one.publications; !strings.HasPrefix(heard.body.Message, ready) {
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
