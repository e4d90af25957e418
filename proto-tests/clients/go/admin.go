// Administration by kadm, one short-lived client a call: slower than it could be, and with no state between calls.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func administer(r request) (any, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(r.Bootstrap))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	switch r.Op {
	case "create_topic":
		configs := map[string]*string{}
		for name, value := range r.Configs {
			configs[name] = &value
		}
		created, err := admin.CreateTopics(ctx, r.Partitioned(), -1, configs, r.Topic)
		if err != nil {
			return nil, err
		}
		one := created[r.Topic]
		if one.Err != nil {
			return nil, fmt.Errorf("%w: %s", one.Err, one.ErrMessage)
		}
		return nothing{}, nil
	case "delete_topic":
		deleted, err := admin.DeleteTopics(ctx, r.Topic)
		if err != nil {
			return nil, err
		}
		return nothing{}, deleted[r.Topic].Err
	case "list_offsets":
		return listOffsets(ctx, admin, r)
	}
	return nil, fmt.Errorf("no such operation: %s", r.Op)
}

// Partitioned reads `partitions` as the count that create_topic gives.
func (r request) Partitioned() int32 {
	var count int32
	if json.Unmarshal(r.Partitions, &count) != nil {
		return -1
	}
	return count
}

func listOffsets(ctx context.Context, admin *kadm.Client, r request) (any, error) {
	var millisecond int64
	var listed kadm.ListedOffsets
	var err error
	switch {
	case json.Unmarshal(r.At, &millisecond) == nil:
		listed, err = admin.ListOffsetsAfterMilli(ctx, millisecond, r.Topic)
	case string(r.At) == `"earliest"`:
		listed, err = admin.ListStartOffsets(ctx, r.Topic)
	case r.ReadCommitted:
		listed, err = admin.ListCommittedOffsets(ctx, r.Topic)
	default:
		listed, err = admin.ListEndOffsets(ctx, r.Topic)
	}
	if err != nil {
		return nil, err
	}
	one, found := listed.Lookup(r.Topic, r.Partition)
	if !found {
		return nil, fmt.Errorf("%s-%d is not in the answer", r.Topic, r.Partition)
	}
	return map[string]any{"offset": one.Offset, "timestamp": one.Timestamp, "epoch": one.LeaderEpoch}, one.Err
}
