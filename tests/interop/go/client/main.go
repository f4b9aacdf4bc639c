// Two people chat: go-zeromq, MessagePack and the exercise's formats, and nothing that knows papo.
//
//	client [BROKER PROXY]
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/go-zeromq/zmq4"
	"github.com/vmihailenco/msgpack/v5"
)

type fields map[string]any

func main() {
	broker, proxy := "tcp://127.0.0.1:5555", "tcp://127.0.0.1:5558"
	if len(os.Args) == 3 {
		broker, proxy = os.Args[1], os.Args[2]
	}
	alice, bob := connect(zmq4.NewReq, broker), connect(zmq4.NewReq, broker)
	aliceHears, bobHears := connect(zmq4.NewSub, proxy, "praça", "ana-go"), connect(zmq4.NewSub, proxy, "praça", "beto-go")
	_ = alice
	_ = bob
	_ = aliceHears
	_ = bobHears
	fmt.Println(time.Now())
	_ = context.Background
	_ = msgpack.Marshal
}

func connect(kind func(context.Context, ...zmq4.Option) zmq4.Socket, address string, topics ...string) zmq4.Socket {
	return nil
}
