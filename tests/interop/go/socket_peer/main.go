// A socket of go-zeromq as a program, by the contract in ../../python/socket_peers.py.
package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/go-zeromq/zmq4"
)

const (
	topic        = "news"
	probe        = "probe"
	dealerWindow = 50
	// Before trying again what the library refuses while it has no connection.
	pause = 20 * time.Millisecond
)

func main() {
	if len(os.Args) != 5 {
		fail("usage: socket_peer TYPE listen|connect HOST:PORT HEARTBEAT_MS")
	}
	// The heartbeat is left out: the library has none.
	kind, verb, endpoint := zmq4.SocketType(os.Args[1]), os.Args[2], "tcp://"+os.Args[3]
	var options []zmq4.Option
	if verb == "connect" {
		// A socket that listens would connect to itself with it.
		options = append(options, zmq4.WithAutomaticReconnect(true), zmq4.WithDialerMaxRetries(-1), zmq4.WithDialerRetry(pause))
	}
	socket := open(kind, options)
	if kind == zmq4.Sub {
		must(socket.SetOption(zmq4.OptionSubscribe, topic))
	}
	if verb == "listen" {
		must(socket.Listen(endpoint))
	} else {
		must(socket.Dial(endpoint))
	}
	fmt.Println("ready")

	switch kind {
	case zmq4.Rep, zmq4.Router:
		answer(socket)
	case zmq4.Sub:
		subscribe(socket)
	}
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		var count, size int
		if orders.Text() == probe {
			must(socket.SendMulti(zmq4.NewMsgFrom([]byte(topic), []byte(probe))))
			continue
		}
		if _, err := fmt.Sscanf(orders.Text(), "go %d %d", &count, &size); err != nil {
			fail("not an order: " + orders.Text())
		}
		switch kind {
		case zmq4.Req, zmq4.Dealer:
			ask(socket, kind, count, size)
		default:
			for number := 1; number <= count; number++ {
				must(socket.SendMulti(zmq4.NewMsgFrom([]byte(topic), body(number, count, size))))
			}
		}
	}
}

func open(kind zmq4.SocketType, options []zmq4.Option) zmq4.Socket {
	background := context.Background()
	switch kind {
	case zmq4.Req:
		return zmq4.NewReq(background, options...)
	case zmq4.Rep:
		return zmq4.NewRep(background, options...)
	case zmq4.Dealer:
		return zmq4.NewDealer(background, options...)
	case zmq4.Router:
		return zmq4.NewRouter(background, options...)
	case zmq4.Pub:
		return zmq4.NewPub(background, options...)
	case zmq4.Sub:
		return zmq4.NewSub(background, options...)
	}
	fail("no such socket type: " + string(kind))
	return nil
}

func body(number, count, size int) []byte {
	start := fmt.Sprintf("%d %d ", number, count)
	letter := string(rune('a' + number%26))
	return []byte(start + strings.Repeat(letter, max(0, size-len(start))))
}

// Sends in one write: a REQ that writes frame by frame to a connection that just died locks itself up when it reconnects.
func send(socket zmq4.Socket, frames ...[]byte) {
	for socket.SendMulti(zmq4.NewMsgFrom(frames...)) != nil {
		time.Sleep(pause)
	}
}

func ask(socket zmq4.Socket, kind zmq4.SocketType, count, size int) {
	var envelope [][]byte
	window := 1
	if kind == zmq4.Dealer {
		envelope, window = [][]byte{{}}, dealerWindow
		untilConnected(socket)
	}
	for first := 1; first <= count; first += window {
		last := min(first+window-1, count)
		for number := first; number <= last; number++ {
			send(socket, append(envelope, body(number, count, size))...)
		}
		for number := first; number <= last; number++ {
			answer, err := hearAnswer(socket)
			for err != nil {
				// A REQ hears only here that its connection is gone, and its question with it.
				send(socket, body(number, count, size))
				answer, err = hearAnswer(socket)
			}
			if !bytes.Equal(answer, body(number, count, size)) {
				fail(fmt.Sprintf("answer %d of %d is another, or changed", number, count))
			}
		}
	}
	fmt.Println("ok", count)
}

// A DEALER drops in silence what it is to send while it has no connection: this asks until an answer comes.
func untilConnected(socket zmq4.Socket) {
	answered := make(chan struct{})
	go func() {
		for {
			_ = socket.SendMulti(zmq4.NewMsgFrom([]byte{}, []byte(probe)))
			select {
			case <-answered:
				return
			case <-time.After(pause):
			}
		}
	}()
	for {
		// An error is the end of an earlier connection.
		if answer, err := socket.Recv(); err == nil && string(answer.Frames[len(answer.Frames)-1]) == probe {
			close(answered)
			return
		}
	}
}

// The last frame of the next answer that is not to a probe.
func hearAnswer(socket zmq4.Socket) ([]byte, error) {
	for {
		answer, err := socket.Recv()
		if err != nil {
			return nil, err
		}
		if last := answer.Frames[len(answer.Frames)-1]; string(last) != probe {
			return last, nil
		}
	}
}

func answer(socket zmq4.Socket) {
	for {
		if question, err := socket.Recv(); err == nil {
			must(socket.SendMulti(question))
		}
	}
}

func subscribe(socket zmq4.Socket) {
	heard := 0
	for {
		message, err := socket.Recv()
		if err != nil {
			continue
		}
		if len(message.Frames) != 2 || string(message.Frames[0]) != topic {
			fail(fmt.Sprintf("%d frames of topic %q", len(message.Frames), message.Frames[0]))
		}
		if string(message.Frames[1]) == probe {
			fmt.Println(probe)
			continue
		}
		heard++
		var number, count int
		if _, err := fmt.Fscan(bytes.NewReader(message.Frames[1]), &number, &count); err != nil {
			fail(err.Error())
		}
		if !bytes.Equal(message.Frames[1], body(heard, count, len(message.Frames[1]))) {
			fail(fmt.Sprintf("message %d of %d is another, or changed", heard, count))
		}
		if heard == count {
			heard = 0
			fmt.Println("ok", count)
		}
	}
}

func must(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}
