// Package kafka is how a person names a Kafka cluster, and the wire to it: an idempotent producer, a fetch that reads record batches itself, and the
// few calls that set up and trim topics.
//
// It stands on kafka-go's connections and protocol, and adds what that lacks: producer ids and sequences (kafka-go's Writer repeats records when an
// answer is lost), the time that the log gave a record, transactions' markers and aborted records left out, errors told apart by whether trying again
// can help. Sinks, sources and the journal use it; tests find a cluster in kafkatest.
package kafka
