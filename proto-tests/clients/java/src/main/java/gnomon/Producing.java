package gnomon;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.Properties;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** One producer. A send is answered when every record of it is acknowledged or has failed; each has its own result. */
final class Producing {
    private final KafkaProducer<byte[], byte[]> producer;

    Producing(JsonNode open) {
        var config = new Properties();
        config.put("bootstrap.servers", open.get("bootstrap").asText());
        config.put("acks", open.get("acks").asText());
        config.put("enable.idempotence", open.get("idempotent").asText());
        config.put("compression.type", open.get("codec").asText());
        config.put("linger.ms", open.get("linger_ms").asText());
        int deadline = open.get("timeout_ms").asInt();
        config.put("delivery.timeout.ms", deadline + open.get("linger_ms").asInt());
        config.put("request.timeout.ms", Math.min(deadline, 5_000));
        config.put("max.block.ms", deadline);
        config.put("metadata.max.age.ms", 1_000);
        if (!open.get("transactional_id").isNull()) config.put("transactional.id", open.get("transactional_id").asText());
        producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
        if (!open.get("transactional_id").isNull()) {
            try {
                producer.initTransactions();
            } catch (RuntimeException refused) {
                producer.close(java.time.Duration.ZERO);
                throw refused;
            }
        }
    }

    JsonNode run(String op, JsonNode request) throws Exception {
        switch (op) {
            case "send" -> {
                return send(request);
            }
            case "begin" -> producer.beginTransaction();
            case "commit_transaction" -> producer.commitTransaction();
            case "abort_transaction" -> producer.abortTransaction();
            default -> throw new IllegalArgumentException("a producer has no operation " + op);
        }
        return Driver.JSON.createObjectNode();
    }

    private JsonNode send(JsonNode request) throws Exception {
        var pending = new ArrayList<Object>();
        for (JsonNode record : request.get("records")) {
            var headers = new ArrayList<Header>();
            for (JsonNode header : record.get("headers")) headers.add(new RecordHeader(header.get(0).asText(), Driver.bytes(header.get(1))));
            Integer partition = record.get("partition").isNull() ? null : record.get("partition").asInt();
            Long timestamp = record.get("timestamp").isNull() ? null : record.get("timestamp").asLong();
            try {
                pending.add(producer.send(new ProducerRecord<>(
                        record.get("topic").asText(), partition, timestamp, Driver.bytes(record.get("key")), Driver.bytes(record.get("value")), headers)));
            } catch (RuntimeException refused) {
                pending.add(refused);
            }
        }
        producer.flush();
        var results = Driver.JSON.createArrayNode();
        for (Object each : pending) results.add(result(each));
        return results;
    }

    private static JsonNode result(Object pending) {
        var result = Driver.JSON.createObjectNode();
        try {
            if (pending instanceof RuntimeException refused) throw refused;
            @SuppressWarnings("unchecked")
            RecordMetadata done = ((Future<RecordMetadata>) pending).get(60, TimeUnit.SECONDS);
            return result.put("topic", done.topic()).put("partition", done.partition()).put("offset", done.offset()).put("timestamp", done.timestamp());
        } catch (Exception failure) {
            return result.set("error", Driver.error(failure));
        }
    }

    void close() {
        producer.close(java.time.Duration.ofSeconds(2));
    }
}
