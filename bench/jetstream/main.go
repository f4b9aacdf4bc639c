// Clients of NATS JetStream for bench/publish: each has a connection of its own, publishes, waits for the stream's acknowledgement,
// and publishes again. What was measured goes to standard output as a line of JSON, in the words of bench/load.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	subject = "bench"
	stream  = "BENCH"
	// A cluster that was just started elects its leaders first.
	patience = 60 * time.Second
	// How long one acknowledgement may take.
	ackWait = 10 * time.Second
	// Between two tries to make the stream.
	pause = 200 * time.Millisecond
)

type measured struct {
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_us"`
	P99       float64 `json:"p99_us"`
	Max       float64 `json:"max_us"`
	Count     int     `json:"count"`
	CPU       float64 `json:"cpu_us"`
	OwnCPU    float64 `json:"own_cpu_us"`
	Seconds   float64 `json:"seconds"`
	Lost      int     `json:"lost"`
}

func main() {
	servers := flag.String("servers", "", "addresses, separated by commas")
	replicas := flag.Int("replicas", 3, "of the stream")
	prepare := flag.Bool("prepare", false, "make the stream, once the cluster takes it, and nothing else")
	clients := flag.Int("clients", 64, "connections")
	bytes := flag.Int("bytes", 200, "of a message")
	seconds := flag.Float64("seconds", 3, "measured")
	warmup := flag.Float64("warmup", 0.5, "seconds before")
	pids := flag.String("pids", "", "processes whose processor time is measured, separated by commas")
	flag.Parse()

	addresses := strings.Split(*servers, ",")
	var err error
	if *prepare {
		err = makeStream(addresses[0], *replicas)
	} else {
		err = run(addresses, *clients, *bytes, duration(*warmup), duration(*seconds), *pids)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "jetstream:", err)
		os.Exit(1)
	}
}

func duration(seconds float64) time.Duration {
	return time.Duration(seconds * float64(time.Second))
}

// makeStream tries until the cluster has a leader that takes it.
func makeStream(address string, replicas int) error {
	until := time.Now().Add(patience)
	for {
		err := tryStream(address, replicas)
		if err == nil || time.Now().After(until) {
			return err
		}
		time.Sleep(pause)
	}
}

func tryStream(address string, replicas int) error {
	connection, err := nats.Connect(address)
	if err != nil {
		return err
	}
	defer connection.Close()
	js, err := jetstream.New(connection)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), ackWait)
	defer cancel()
	_, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:     stream,
		Subjects: []string{subject},
		Storage:  jetstream.FileStorage,
		Replicas: replicas,
	})
	if err != nil {
		return err
	}
	_, err = js.Publish(ctx, subject, []byte("first"))
	return err
}

// client publishes one message after the other; what it took counts while the time is measured.
type client struct {
	js        jetstream.JetStream
	message   []byte
	latencies []time.Duration
	err       error
}

func (c *client) publish(from, to time.Time) {
	for number := 0; ; number++ {
		copy(c.message, fmt.Sprintf("%016x", number))
		sent := time.Now()
		if sent.After(to) {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), ackWait)
		_, err := c.js.Publish(ctx, subject, c.message)
		cancel()
		if err != nil {
			c.err = err
			return
		}
		if done := time.Now(); done.After(from) && done.Before(to) {
			c.latencies = append(c.latencies, done.Sub(sent))
		}
	}
}

func run(addresses []string, count, bytes int, warmup, length time.Duration, pids string) error {
	clients := make([]*client, count)
	for number := range clients {
		// Spread over the servers, as a service would spread them.
		connection, err := nats.Connect(addresses[number%len(addresses)], nats.DontRandomize())
		if err != nil {
			return err
		}
		defer connection.Close()
		js, err := jetstream.New(connection)
		if err != nil {
			return err
		}
		message := []byte(strings.Repeat(".", max(bytes, 16)))
		clients[number] = &client{js: js, message: message}
		ctx, cancel := context.WithTimeout(context.Background(), ackWait)
		_, err = js.Publish(ctx, subject, message)
		cancel()
		if err != nil {
			return err
		}
	}

	from := time.Now().Add(warmup)
	to := from.Add(length)
	var all sync.WaitGroup
	for _, each := range clients {
		all.Go(func() { each.publish(from, to) })
	}
	time.Sleep(time.Until(from))
	before, ownBefore := cpuOf(pids), cpuOf(strconv.Itoa(os.Getpid()))
	time.Sleep(time.Until(to))
	cpu, own := cpuOf(pids)-before, cpuOf(strconv.Itoa(os.Getpid()))-ownBefore
	all.Wait()

	var latencies []time.Duration
	result := measured{Seconds: length.Seconds()}
	for _, each := range clients {
		if each.err != nil {
			fmt.Fprintln(os.Stderr, "jetstream:", each.err)
			result.Lost++
		}
		latencies = append(latencies, each.latencies...)
	}
	slices.Sort(latencies)
	result.Count = len(latencies)
	if result.Count > 0 {
		result.PerSecond = float64(result.Count) / length.Seconds()
		result.P50, result.P99, result.Max = rank(latencies, 50), rank(latencies, 99), rank(latencies, 100)
		result.CPU = microseconds(cpu) / float64(result.Count)
		result.OwnCPU = microseconds(own) / float64(result.Count)
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

// rank gives what percent of all do not exceed.
func rank(sorted []time.Duration, percent int) float64 {
	return microseconds(sorted[max((len(sorted)*percent+99)/100, 1)-1])
}

func microseconds(duration time.Duration) float64 {
	return float64(duration.Nanoseconds()) / 1000
}

// cpuOf adds up the processor time of all threads of these processes, as the kernel's scheduler has counted it.
func cpuOf(pids string) time.Duration {
	var total time.Duration
	for pid := range strings.SplitSeq(pids, ",") {
		files, _ := filepath.Glob(filepath.Join("/proc", pid, "task", "*", "schedstat"))
		for _, file := range files {
			line, _ := os.ReadFile(file)
			used, _, _ := strings.Cut(string(line), " ")
			nanoseconds, _ := strconv.ParseInt(used, 10, 64)
			total += time.Duration(nanoseconds)
		}
	}
	return total
}
