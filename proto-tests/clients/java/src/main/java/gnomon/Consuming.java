package gnomon;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** One consumer: of a group when there is one and topics are named, else of the partitions that it is given. Commits only when told. */
final class Consuming {
    private final KafkaConsumer<byte[], byte[]> consumer;

    Consuming(JsonNode open) {
        var config = new Properties();
        config.put("bootstrap.servers", open.get("bootstrap").asText());
        if (!open.get("group").isNull()) config.put("group.id", open.get("group").asText());
        config.put("enable.auto.commit", "false");
        config.put("auto.offset.reset", open.get("reset").asText());
        config.put("isolation.level", open.get("read_committed").asBoolean() ? "read_committed" : "read_uncommitted");
        config.put("session.timeout.ms", open.get("session_timeout_ms").asText());
        config.put("heartbeat.interval.ms", Math.max(100, open.get("session_timeout_ms").asInt() / 20));
        config.put("metadata.max.age.ms", 1_000);
        config.put("fetch.max.wait.ms", 200);
        config.put("default.api.timeout.ms", 15_000);
        config.put("request.timeout.ms", 5_000);
        consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        var topics = new ArrayList<String>();
        open.get("topics").forEach(topic -> topics.add(topic.asText()));
        if (!topics.isEmpty()) {
            consumer.subscribe(topics);
            return;
        }
        var partitions = new ArrayList<TopicPartition>();
        open.get("assign").forEach(each -> partitions.add(partition(each)));
        consumer.assign(partitions);
        open.get("assign").forEach(each -> seek(partition(each), each.get(2)));
    }

    private static TopicPartition partition(JsonNode pair) {
        return new TopicPartition(pair.get(0).asText(), pair.get(1).asInt());
    }

    private void seek(TopicPartition partition, JsonNode to) {
        if (to.isNumber()) consumer.seek(partition, to.asLong());
        else if (to.asText().equals("beginning")) consumer.seekToBeginning(List.of(partition));
        else if (to.asText().equals("end")) consumer.seekToEnd(List.of(partition));
        else if (!to.asText().equals("committed")) throw new IllegalArgumentException("no such position: " + to);
    }

    JsonNode run(String op, JsonNode request) {
        switch (op) {
            case "poll" -> {
                return poll(request.get("wait_ms").asLong());
            }
            case "commit" -> {
                consumer.commitSync();
                return Driver.JSON.createObjectNode();
            }
            case "seek" -> {
                seek(new TopicPartition(request.get("topic").asText(), request.get("partition").asInt()), request.get("to"));
                return Driver.JSON.createObjectNode();
            }
            case "committed" -> {
                ArrayNode all = Driver.JSON.createArrayNode();
                for (JsonNode pair : request.get("partitions")) {
                    var known = consumer.committed(new HashSet<>(List.of(partition(pair)))).get(partition(pair));
                    if (known == null) all.addNull();
                    else all.add(known.offset());
                }
                return all;
            }
            case "position" -> {
                return Driver.JSON.getNodeFactory().numberNode(consumer.position(new TopicPartition(request.get("topic").asText(), request.get("partition").asInt())));
            }
            default -> throw new IllegalArgumentException("a consumer has no operation " + op);
        }
    }

    private JsonNode poll(long waitMs) {
        ObjectNode reply = Driver.JSON.createObjectNode();
        ArrayNode records = reply.putArray("records");
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(waitMs))) {
            ObjectNode each = records.addObject();
            each.put("topic", record.topic()).put("partition", record.partition()).put("offset", record.offset()).put("timestamp", record.timestamp());
            Driver.put(each, "key", record.key());
            Driver.put(each, "value", record.value());
            ArrayNode headers = each.putArray("headers");
            for (Header header : record.headers()) {
                ArrayNode pair = headers.addArray().add(header.key());
                if (header.value() == null) pair.addNull();
                else pair.add(new String(header.value(), java.nio.charset.StandardCharsets.UTF_8));
            }
            if (record.leaderEpoch().isPresent()) each.put("epoch", record.leaderEpoch().get());
            else each.putNull("epoch");
        }
        ArrayNode assignment = reply.putArray("assignment");
        for (TopicPartition each : consumer.assignment()) assignment.add(Driver.pair(each.topic(), each.partition()));
        return reply;
    }

    void close() {
        consumer.close(org.apache.kafka.clients.consumer.CloseOptions.timeout(Duration.ofSeconds(3)));
    }
}
