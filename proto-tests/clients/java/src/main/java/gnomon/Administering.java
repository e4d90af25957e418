package gnomon;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** Administration, by one admin client per address. */
final class Administering {
    private static final Map<String, Admin> CLIENTS = new ConcurrentHashMap<>();

    private Administering() {}

    private static Admin admin(JsonNode request) {
        return CLIENTS.computeIfAbsent(request.get("bootstrap").asText(), bootstrap -> {
            var config = new Properties();
            config.put("bootstrap.servers", bootstrap);
            config.put("default.api.timeout.ms", 10_000);
            config.put("request.timeout.ms", 5_000);
            return Admin.create(config);
        });
    }

    static JsonNode run(String op, JsonNode request) throws Exception {
        Admin admin = admin(request);
        ObjectNode reply = Driver.JSON.createObjectNode();
        switch (op) {
            case "create_topic" -> {
                var configs = new HashMap<String, String>();
                request.get("configs").properties().forEach(each -> configs.put(each.getKey(), each.getValue().asText()));
                var topic = new NewTopic(request.get("topic").asText(), Optional.of(request.get("partitions").asInt()), Optional.empty());
                admin.createTopics(List.of(topic.configs(configs))).all().get();
                return reply;
            }
            case "delete_topic" -> {
                admin.deleteTopics(List.of(request.get("topic").asText())).all().get();
                return reply;
            }
            case "list_topics" -> {
                ArrayNode names = Driver.JSON.createArrayNode();
                admin.listTopics().names().get().forEach(names::add);
                return names;
            }
            case "describe_topic" -> {
                String name = request.get("topic").asText();
                var topic = admin.describeTopics(List.of(name)).allTopicNames().get().get(name);
                reply.put("topic_id", topic.topicId().toString());
                ArrayNode partitions = reply.putArray("partitions");
                topic.partitions().forEach(each -> partitions.addObject().put("partition", each.partition()).put("leader", each.leader().id()).put("address", each.leader().host() + ":" + each.leader().port()));
                return reply;
            }
            case "describe_cluster" -> {
                var cluster = admin.describeCluster();
                reply.put("cluster_id", cluster.clusterId().get());
                ArrayNode nodes = reply.putArray("nodes");
                cluster.nodes().get().forEach(each -> nodes.addObject().put("id", each.id()).put("address", each.host() + ":" + each.port()));
                return reply;
            }
            case "describe_configs" -> {
                var type = ConfigResource.Type.valueOf(request.get("type").asText().toUpperCase());
                var resource = new ConfigResource(type, request.get("name").asText());
                for (var each : admin.describeConfigs(List.of(resource)).all().get().get(resource).entries())
                    reply.putObject(each.name()).put("value", each.value()).put("source", each.source().name()).put("read_only", each.isReadOnly());
                return reply;
            }
            case "list_offsets" -> {
                var partition = new TopicPartition(request.get("topic").asText(), request.get("partition").asInt());
                JsonNode at = request.get("at");
                OffsetSpec spec = at.isNumber() ? OffsetSpec.forTimestamp(at.asLong()) : at.asText().equals("earliest") ? OffsetSpec.earliest() : OffsetSpec.latest();
                var isolation = request.get("read_committed").asBoolean() ? IsolationLevel.READ_COMMITTED : IsolationLevel.READ_UNCOMMITTED;
                var found = admin.listOffsets(Map.of(partition, spec), new ListOffsetsOptions(isolation)).partitionResult(partition).get();
                reply.put("offset", found.offset()).put("timestamp", found.timestamp());
                found.leaderEpoch().ifPresentOrElse(epoch -> reply.put("epoch", epoch), () -> reply.putNull("epoch"));
                return reply;
            }
            case "list_groups" -> {
                ArrayNode names = Driver.JSON.createArrayNode();
                admin.listGroups().all().get().forEach(each -> names.add(each.groupId()));
                return names;
            }
            case "describe_group" -> {
                String name = request.get("group").asText();
                var group = admin.describeConsumerGroups(List.of(name)).all().get().get(name);
                reply.put("state", group.groupState().toString());
                reply.put("members", group.members().size());
                return reply;
            }
            case "group_offsets" -> {
                String name = request.get("group").asText();
                ArrayNode all = Driver.JSON.createArrayNode();
                admin.listConsumerGroupOffsets(name).partitionsToOffsetAndMetadata().get().forEach((partition, known) -> {
                    if (known == null) return;
                    ArrayNode each = all.addArray().add(partition.topic()).add(partition.partition()).add(known.offset());
                    known.leaderEpoch().ifPresentOrElse(each::add, each::addNull);
                });
                return all;
            }
            case "commit_offsets" -> {
                var offsets = new HashMap<TopicPartition, OffsetAndMetadata>();
                for (JsonNode each : request.get("offsets")) offsets.put(new TopicPartition(each.get(0).asText(), each.get(1).asInt()), new OffsetAndMetadata(each.get(2).asLong()));
                admin.alterConsumerGroupOffsets(request.get("group").asText(), offsets).all().get();
                return reply;
            }
            default -> throw new IllegalArgumentException("no such operation: " + op);
        }
    }
}
