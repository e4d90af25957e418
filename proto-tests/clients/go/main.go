// franz-go behind a pipe: one JSON object a line in, one a line out, in the words of the Java driver beside it.
//
// {"id":1,"handle":"p","op":"send",...} is answered by {"id":1,"ok":...} or {"id":1,"error":{...}}. Each handle has a goroutine of
// its own, so that its operations keep their order and those of other handles do not wait for them. Operations: see the README.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
)

type request struct {
	ID     int64  `json:"id"`
	Handle string `json:"handle"`
	Op     string `json:"op"`

	Bootstrap       string            `json:"bootstrap"`
	Acks            string            `json:"acks"`
	Idempotent      bool              `json:"idempotent"`
	Codec           string            `json:"codec"`
	LingerMS        int64             `json:"linger_ms"`
	TimeoutMS       int64             `json:"timeout_ms"`
	TransactionalID *string           `json:"transactional_id"`
	Records         []record          `json:"records"`
	Group           *string           `json:"group"`
	Topics          []string          `json:"topics"`
	Assign          []json.RawMessage `json:"assign"`
	Reset           string            `json:"reset"`
	ReadCommitted   bool              `json:"read_committed"`
	SessionMS       int64             `json:"session_timeout_ms"`
	WaitMS          int64             `json:"wait_ms"`
	Topic           string            `json:"topic"`
	Partition       int32             `json:"partition"`
	Partitions      json.RawMessage   `json:"partitions"`
	Configs         map[string]string `json:"configs"`
	To              json.RawMessage   `json:"to"`
	At              json.RawMessage   `json:"at"`
}

type record struct {
	Topic     string      `json:"topic"`
	Partition *int32      `json:"partition"`
	Offset    int64       `json:"offset"`
	Timestamp *int64      `json:"timestamp"`
	Key       *string     `json:"key"`
	Value     *string     `json:"value"`
	Headers   [][]*string `json:"headers"`
	Epoch     *int32      `json:"epoch,omitempty"`
}

type failure struct {
	Class     string `json:"class"`
	Code      int    `json:"code"`
	Message   string `json:"message"`
	Retriable bool   `json:"retriable"`
}

type reply struct {
	ID    int64    `json:"id"`
	OK    any      `json:"ok,omitempty"`
	Error *failure `json:"error,omitempty"`
}

type nothing struct{}

// failed keeps Kafka's name and number for an error, where it has one.
func failed(err error) *failure {
	var kafka *kerr.Error
	if errors.As(err, &kafka) {
		return &failure{kafka.Message, int(kafka.Code), err.Error(), kafka.Retriable}
	}
	return &failure{fmt.Sprintf("%T", err), -1, err.Error(), false}
}

var (
	output sync.Mutex
	table  sync.Mutex
	open   = map[string]*handle{}
)

func answer(r reply) {
	line, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	output.Lock()
	defer output.Unlock()
	os.Stdout.Write(append(line, '\n'))
}

func serve(requests <-chan request) {
	for r := range requests {
		ok, err := run(r)
		if err != nil {
			answer(reply{ID: r.ID, Error: failed(err)})
			continue
		}
		answer(reply{ID: r.ID, OK: ok})
	}
}

func main() {
	queues := map[string]chan request{}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			fmt.Fprintln(os.Stderr, "not a request:", err)
			os.Exit(2)
		}
		queue, known := queues[r.Handle]
		if !known {
			queue = make(chan request, 1024)
			queues[r.Handle] = queue
			go serve(queue)
		}
		queue <- r
	}
}
