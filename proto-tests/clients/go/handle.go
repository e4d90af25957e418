// Producers and consumers: one kgo.Client a handle. Commits only when told.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type handle struct {
	client *kgo.Client
	group  string
	// After this a record has failed.
	deadline time.Duration

	// The assignment, as the group's callbacks told it.
	guard    sync.Mutex
	assigned map[string]map[int32]bool
}

func (h *handle) gained(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	h.guard.Lock()
	defer h.guard.Unlock()
	for topic, each := range partitions {
		if h.assigned[topic] == nil {
			h.assigned[topic] = map[int32]bool{}
		}
		for _, partition := range each {
			h.assigned[topic][partition] = true
		}
	}
}

func (h *handle) lost(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	h.guard.Lock()
	defer h.guard.Unlock()
	for topic, each := range partitions {
		for _, partition := range each {
			delete(h.assigned[topic], partition)
		}
	}
}

func run(r request) (any, error) {
	switch r.Op {
	case "producer_open":
		return openProducer(r)
	case "consumer_open":
		return openConsumer(r)
	}
	table.Lock()
	h := open[r.Handle]
	table.Unlock()
	if h == nil {
		if r.Op == "close" {
			return nothing{}, nil
		}
		return administer(r)
	}
	switch r.Op {
	case "close":
		table.Lock()
		delete(open, r.Handle)
		table.Unlock()
		h.client.Close()
		return nothing{}, nil
	case "send":
		return h.send(r)
	case "begin":
		return nothing{}, h.client.BeginTransaction()
	case "commit_transaction":
		return nothing{}, h.end(kgo.TryCommit)
	case "abort_transaction":
		return nothing{}, h.end(kgo.TryAbort)
	case "poll":
		return h.poll(r)
	case "commit":
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		return nothing{}, h.client.CommitUncommittedOffsets(ctx)
	case "seek":
		return nothing{}, h.seek(r)
	case "committed":
		return h.committed(r)
	}
	return nil, fmt.Errorf("no such operation: %s", r.Op)
}

func keep(name string, h *handle, options []kgo.Opt) (any, error) {
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	h.client = client
	table.Lock()
	defer table.Unlock()
	open[name] = h
	return nothing{}, nil
}

func codec(name string) (kgo.CompressionCodec, error) {
	switch name {
	case "none":
		return kgo.NoCompression(), nil
	case "gzip":
		return kgo.GzipCompression(), nil
	case "snappy":
		return kgo.SnappyCompression(), nil
	case "lz4":
		return kgo.Lz4Compression(), nil
	case "zstd":
		return kgo.ZstdCompression(), nil
	}
	return kgo.NoCompression(), fmt.Errorf("no such codec: %s", name)
}

func openProducer(r request) (any, error) {
	compression, err := codec(r.Codec)
	if err != nil {
		return nil, err
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(r.Bootstrap),
		kgo.ProducerBatchCompression(compression),
		kgo.ProducerLinger(time.Duration(r.LingerMS) * time.Millisecond),
		kgo.AllowAutoTopicCreation(),
		kgo.UnknownTopicRetries(4),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.MetadataMaxAge(time.Second),
		kgo.RecordPartitioner(chosenOrHashed()),
	}
	switch r.Acks {
	case "all":
	case "1":
		options = append(options, kgo.RequiredAcks(kgo.LeaderAck()))
	case "0":
		options = append(options, kgo.RequiredAcks(kgo.NoAck()))
	}
	if !r.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	if r.TransactionalID != nil {
		options = append(options, kgo.TransactionalID(*r.TransactionalID))
	}
	// Not RecordDeliveryTimeout: it counts from the record's own timestamp, and tests write timestamps of the past.
	return keep(r.Handle, &handle{deadline: time.Duration(r.TimeoutMS) * time.Millisecond}, options)
}

// A record's own partition when it names one, else by key as Java does.
func chosenOrHashed() kgo.Partitioner {
	hashed := kgo.StickyKeyPartitioner(nil)
	return kgo.BasicConsistentPartitioner(func(topic string) func(*kgo.Record, int) int {
		keyed := hashed.ForTopic(topic)
		return func(record *kgo.Record, n int) int {
			if record.Context != nil {
				if chosen, ok := record.Context.Value(chosenKey{}).(int32); ok {
					return int(chosen)
				}
			}
			return keyed.Partition(record, n)
		}
	})
}

type chosenKey struct{}

func bytesOf(text *string) []byte {
	if text == nil {
		return nil
	}
	return []byte(*text)
}

func textOf(bytes []byte) *string {
	if bytes == nil {
		return nil
	}
	text := string(bytes)
	return &text
}

func (h *handle) send(r request) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), h.deadline)
	defer cancel()
	var records []*kgo.Record
	for _, each := range r.Records {
		one := &kgo.Record{Context: ctx, Topic: each.Topic, Key: bytesOf(each.Key), Value: bytesOf(each.Value)}
		if each.Partition != nil {
			one.Context = context.WithValue(ctx, chosenKey{}, *each.Partition)
		}
		if each.Timestamp != nil {
			one.Timestamp = time.UnixMilli(*each.Timestamp)
		}
		for _, header := range each.Headers {
			one.Headers = append(one.Headers, kgo.RecordHeader{Key: *header[0], Value: bytesOf(header[1])})
		}
		records = append(records, one)
	}
	// Results come in the order of completion: each is put where its record was.
	place := map[*kgo.Record]int{}
	for at, each := range records {
		place[each] = at
	}
	results := make([]any, len(records))
	for _, done := range h.client.ProduceSync(ctx, records...) {
		at := place[done.Record]
		if done.Err != nil {
			results[at] = map[string]any{"error": failed(done.Err)}
			continue
		}
		results[at] = map[string]any{
			"topic": done.Record.Topic, "partition": done.Record.Partition, "offset": done.Record.Offset,
			"timestamp": done.Record.Timestamp.UnixMilli(),
		}
	}
	return results, nil
}

func (h *handle) end(how kgo.TransactionEndTry) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := h.client.Flush(ctx); err != nil {
		return err
	}
	return h.client.EndTransaction(ctx, how)
}

func offsetOf(to json.RawMessage) (kgo.Offset, error) {
	var number int64
	if json.Unmarshal(to, &number) == nil {
		return kgo.NewOffset().At(number), nil
	}
	var word string
	if err := json.Unmarshal(to, &word); err != nil {
		return kgo.Offset{}, err
	}
	switch word {
	case "beginning":
		return kgo.NewOffset().AtStart(), nil
	case "end":
		return kgo.NewOffset().AtEnd(), nil
	}
	return kgo.Offset{}, fmt.Errorf("no such position: %s", word)
}

func openConsumer(r request) (any, error) {
	options := []kgo.Opt{
		kgo.SeedBrokers(r.Bootstrap),
		kgo.FetchMaxWait(200 * time.Millisecond),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.MetadataMaxAge(time.Second),
		kgo.AllowAutoTopicCreation(),
	}
	switch r.Reset {
	case "earliest":
		options = append(options, kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	case "latest":
		options = append(options, kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()))
	case "none":
		options = append(options, kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	}
	if r.ReadCommitted {
		options = append(options, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	h := &handle{assigned: map[string]map[int32]bool{}}
	if r.Group != nil {
		h.group = *r.Group
		options = append(options,
			kgo.ConsumerGroup(h.group),
			kgo.OnPartitionsAssigned(h.gained),
			kgo.OnPartitionsRevoked(h.lost),
			kgo.OnPartitionsLost(h.lost),
			kgo.ConsumeTopics(r.Topics...),
			kgo.DisableAutoCommit(),
			kgo.Balancers(kgo.RangeBalancer(), kgo.RoundRobinBalancer()),
			kgo.SessionTimeout(time.Duration(r.SessionMS)*time.Millisecond),
			kgo.HeartbeatInterval(max(100*time.Millisecond, time.Duration(r.SessionMS)*time.Millisecond/20)))
	} else if len(r.Topics) > 0 {
		options = append(options, kgo.ConsumeTopics(r.Topics...))
	}
	if len(r.Assign) > 0 {
		given := map[string]map[int32]kgo.Offset{}
		for _, raw := range r.Assign {
			var each []json.RawMessage
			var topic string
			var partition int32
			if err := json.Unmarshal(raw, &each); err != nil || len(each) != 3 {
				return nil, fmt.Errorf("not [topic, partition, position]: %s", raw)
			}
			if json.Unmarshal(each[0], &topic) != nil || json.Unmarshal(each[1], &partition) != nil {
				return nil, fmt.Errorf("not [topic, partition, position]: %s", raw)
			}
			offset, err := offsetOf(each[2])
			if err != nil {
				return nil, err
			}
			if given[topic] == nil {
				given[topic] = map[int32]kgo.Offset{}
			}
			given[topic][partition] = offset
		}
		options = append(options, kgo.ConsumePartitions(given))
	}
	return keep(r.Handle, h, options)
}

func (h *handle) poll(r request) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.WaitMS)*time.Millisecond)
	defer cancel()
	fetches := h.client.PollFetches(ctx)
	for _, each := range fetches.Errors() {
		if each.Err == context.DeadlineExceeded || each.Err == context.Canceled {
			continue
		}
		return nil, each.Err
	}
	records := []record{}
	fetches.EachRecord(func(each *kgo.Record) {
		timestamp, partition, epoch := each.Timestamp.UnixMilli(), each.Partition, each.LeaderEpoch
		headers := [][]*string{}
		for _, header := range each.Headers {
			key := header.Key
			headers = append(headers, []*string{&key, textOf(header.Value)})
		}
		records = append(records, record{each.Topic, &partition, each.Offset, &timestamp, textOf(each.Key), textOf(each.Value), headers, &epoch})
	})
	assignment := [][]any{}
	h.guard.Lock()
	defer h.guard.Unlock()
	for topic, partitions := range h.assigned {
		for partition := range partitions {
			assignment = append(assignment, []any{topic, partition})
		}
	}
	return map[string]any{"records": records, "assignment": assignment}, nil
}

func (h *handle) seek(r request) error {
	offset, err := offsetOf(r.To)
	if err != nil {
		return err
	}
	h.client.RemoveConsumePartitions(map[string][]int32{r.Topic: {r.Partition}})
	h.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{r.Topic: {r.Partition: offset}})
	return nil
}

func (h *handle) committed(r request) (any, error) {
	var pairs [][]json.RawMessage
	if err := json.Unmarshal(r.Partitions, &pairs); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	known, err := kadm.NewClient(h.client).FetchOffsets(ctx, h.group)
	if err != nil {
		return nil, err
	}
	all := []*int64{}
	for _, pair := range pairs {
		var topic string
		var partition int32
		if json.Unmarshal(pair[0], &topic) != nil || json.Unmarshal(pair[1], &partition) != nil {
			return nil, fmt.Errorf("not [topic, partition]: %s", pair)
		}
		if offset, found := known.Lookup(topic, partition); found && offset.At >= 0 {
			at := offset.At
			all = append(all, &at)
		} else {
			all = append(all, nil)
		}
	}
	return all, nil
}
