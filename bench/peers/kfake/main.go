// Runs kfake, franz-go's Kafka in one Go process, as a peer of the benches: one broker on one address, records in a data
// directory, with an fsync before each acknowledgement or without. Only what kfake itself offers; nothing is tuned here.
//
// Prints "ready ADDRESS" when it listens, and stops cleanly at SIGTERM.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/twmb/franz-go/pkg/kfake"
)

func main() {
	port := flag.Int("port", 0, "port to listen on, at 127.0.0.1")
	data := flag.String("data", "", "data directory")
	sync := flag.Bool("sync", false, "fsync every batch before it is acknowledged")
	flag.Parse()
	if *port == 0 || *data == "" {
		fmt.Fprintln(os.Stderr, "kfake: -port and -data are needed")
		os.Exit(2)
	}
	if err := run(*port, *data, *sync); err != nil {
		fmt.Fprintln(os.Stderr, "kfake:", err)
		os.Exit(1)
	}
}

func run(port int, data string, sync bool) error {
	options := []kfake.Opt{
		kfake.Ports(port),
		kfake.NumBrokers(1),
		kfake.DataDir(data),
		kfake.DefaultNumPartitions(1),
		kfake.AllowAutoTopicCreation(),
	}
	if sync {
		options = append(options, kfake.SyncWrites())
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	cluster, err := kfake.NewCluster(options...)
	if err != nil {
		return err
	}
	fmt.Println("ready", net.JoinHostPort("127.0.0.1", fmt.Sprint(port)))
	<-stop
	cluster.Close()
	return nil
}
