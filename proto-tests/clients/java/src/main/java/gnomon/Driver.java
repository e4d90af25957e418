package gnomon;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.apache.kafka.common.errors.RetriableException;

/**
 * Apache Kafka's Java client behind a pipe: one JSON object a line in, one a line out.
 *
 * <p>{@code {"id":1,"handle":"p","op":"send",...}} is answered by {@code {"id":1,"ok":...}} or {@code
 * {"id":1,"error":{"class","code","message","retriable"}}}. Each handle has a thread of its own, so that its operations keep
 * their order and those of other handles do not wait for them. The operations are listed in the README. What a test expects is
 * not known here.
 */
public final class Driver {
    static final ObjectMapper JSON = new ObjectMapper();
    private static final PrintStream OUT = new PrintStream(new java.io.FileOutputStream(java.io.FileDescriptor.out), false, StandardCharsets.UTF_8);
    private static final Map<String, ExecutorService> THREADS = new ConcurrentHashMap<>();
    private static final Map<String, Producing> PRODUCERS = new ConcurrentHashMap<>();
    private static final Map<String, Consuming> CONSUMERS = new ConcurrentHashMap<>();

    private Driver() {}

    public static void main(String[] arguments) throws Exception {
        System.setOut(System.err); // A library that prints must not break the line protocol.
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            JsonNode request = JSON.readTree(line);
            THREADS.computeIfAbsent(request.get("handle").asText(), Driver::thread).execute(() -> answer(request));
        }
        Runtime.getRuntime().halt(0);
    }

    private static ExecutorService thread(String handle) {
        return Executors.newSingleThreadExecutor(task -> {
            var thread = new Thread(task, handle);
            thread.setDaemon(true);
            return thread;
        });
    }

    private static void answer(JsonNode request) {
        ObjectNode reply = JSON.createObjectNode().put("id", request.get("id").asLong());
        try {
            reply.set("ok", run(request));
        } catch (Throwable failure) {
            reply.set("error", error(failure));
        }
        synchronized (OUT) {
            OUT.println(reply);
            OUT.flush();
        }
    }

    private static JsonNode run(JsonNode request) throws Exception {
        String handle = request.get("handle").asText();
        String op = request.get("op").asText();
        switch (op) {
            case "producer_open" -> {
                PRODUCERS.put(handle, new Producing(request));
                return JSON.createObjectNode();
            }
            case "consumer_open" -> {
                CONSUMERS.put(handle, new Consuming(request));
                return JSON.createObjectNode();
            }
            case "close" -> {
                Producing producer = PRODUCERS.remove(handle);
                if (producer != null) producer.close();
                Consuming consumer = CONSUMERS.remove(handle);
                if (consumer != null) consumer.close();
                return JSON.createObjectNode();
            }
            default -> {
                if (PRODUCERS.containsKey(handle)) return PRODUCERS.get(handle).run(op, request);
                if (CONSUMERS.containsKey(handle)) return CONSUMERS.get(handle).run(op, request);
                return Administering.run(op, request);
            }
        }
    }

    /** The class, Kafka's number where there is one, and every message of the chain: a test looks for the broker's sentence in it. */
    static ObjectNode error(Throwable failure) {
        Throwable cause = failure instanceof ExecutionException && failure.getCause() != null ? failure.getCause() : failure;
        var message = new StringBuilder(String.valueOf(cause.getMessage()));
        for (Throwable deeper = cause.getCause(); deeper != null; deeper = deeper.getCause()) message.append(": ").append(deeper.getMessage());
        return JSON.createObjectNode()
                .put("class", cause.getClass().getSimpleName())
                .put("code", (int) org.apache.kafka.common.protocol.Errors.forException(cause).code())
                .put("message", message.toString())
                .put("retriable", cause instanceof RetriableException);
    }

    static byte[] bytes(JsonNode text) {
        return text == null || text.isNull() ? null : text.asText().getBytes(StandardCharsets.UTF_8);
    }

    static ObjectNode put(ObjectNode object, String name, byte[] bytes) {
        return bytes == null ? object.putNull(name) : object.put(name, new String(bytes, StandardCharsets.UTF_8));
    }

    static ArrayNode pair(String topic, int partition) {
        return JSON.createArrayNode().add(topic).add(partition);
    }
}
