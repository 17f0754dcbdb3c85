package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/onward-router/onward/config/egress"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// An Error is what a cluster, or the way to it, answered at last.
type Error struct {
	Doing string // e.g. `produce to "orders", partition 3`
	Err   error
	Cure  string // what a person does about it; may be empty
	Final bool   // trying again does not help
	// Unsure says of a produce that the records may have been written all the same: an answer was lost.
	Unsure bool
}

// Error returns doing: what; cure.
func (e *Error) Error() string {
	s := fmt.Sprintf("%s: %v", e.Doing, e.Err)
	if e.Unsure {
		s += " (the records may have been written)"
	}
	if e.Cure != "" {
		s += "; " + e.Cure
	}
	return s
}

// Unwrap returns the cause: a kafka-go error where a broker answered.
func (e *Error) Unwrap() error { return e.Err }

// Final reports whether trying again cannot help: somebody has to do something first.
func Final(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Final
}

// Judge makes an *Error of what kafka-go returned for a call that is not one of the client's, with the cure where there is one.
func Judge(doing string, err error) error {
	cure, final := cureOf(err)
	return &Error{Doing: doing, Err: err, Cure: cure, Final: final}
}

// ErrClosed is the cause of what was under way when its producer was closed.
var ErrClosed = errors.New("the producer is closed")

// cures has the answers that trying again does not change. The unknown topic is not among them: a broker that has just started, or has not heard yet,
// knows no topic.
var cures = map[kafka.Error]string{
	kafka.InvalidTopic:                       "topics' names have letters, digits, '.', '_' and '-', and at most 249 of them",
	kafka.MessageSizeTooLarge:                "raise the topic's max.message.bytes, or pass large data by reference (dataref)",
	kafka.RecordListTooLarge:                 "raise the topic's segment.bytes, or pass large data by reference (dataref)",
	kafka.InvalidRecord:                      "a compacted topic takes records with a key only",
	kafka.InvalidTimestamp:                   "set the clock, or the topic's message.timestamp.type=LogAppendTime",
	kafka.PolicyViolation:                    "ask those who run the cluster for its policy",
	kafka.UnsupportedForMessageFormat:        "the topic has a message format of before Kafka 0.11; create it anew",
	kafka.UnsupportedCompressionType:         "choose another compression",
	kafka.UnsupportedVersion:                 "the router needs Kafka 2.3 or later",
	kafka.TopicAuthorizationFailed:           "give this user the right on the topic (ACL)",
	kafka.GroupAuthorizationFailed:           "give this user the right on the group (ACL)",
	kafka.ClusterAuthorizationFailed:         "give this user the right IdempotentWrite on the cluster, or Write on the topic (ACL)",
	kafka.TransactionalIDAuthorizationFailed: "give this user the right on the transactional id (ACL)",
	kafka.SASLAuthenticationFailed:           "check sasl.username, and the password that sasl.password names",
	kafka.UnsupportedSASLMechanism:           "choose a sasl.mechanism that the brokers offer",
	kafka.IllegalSASLState:                   "the brokers' listener does not ask who we are; leave sasl out, or name another listener's port",
	kafka.SecurityDisabled:                   "the cluster has no authorizer",
	kafka.InvalidGroupId:                     "choose another group",
	kafka.InconsistentGroupProtocol:          "members of another kind are in the group; choose another group",
	kafka.InvalidSessionTimeout:              "choose a session timeout between the brokers' group.min.session.timeout.ms and group.max.session.timeout.ms",
	kafka.GroupMaxSizeReached:                "the group has as many members as the brokers' group.max.size allows",
	kafka.InvalidCommitOffsetSize:            "raise the brokers' offset.metadata.max.bytes",
	kafka.OffsetMetadataTooLarge:             "raise the brokers' offset.metadata.max.bytes",
	kafka.TopicAlreadyExists:                 "",
	kafka.InvalidPartitionNumber:             "choose another number of partitions",
	kafka.InvalidReplicationFactor:           "choose a replication factor that the cluster has brokers for: with one broker, onward kafka init --replication 1",
	kafka.InvalidConfiguration:               "correct the topic's settings",
	kafka.InvalidRequiredAcks:                "",
	kafka.IllegalGeneration:                  "",
	kafka.UnknownMemberId:                    "",
	kafka.RebalanceInProgress:                "",
	kafka.FencedInstanceID:                   "",
	kafka.GroupIdNotFound:                    "",
}

// cureCertificate is what helps with brokers that want to see a certificate, or another one.
const cureCertificate = "set tls.cert and tls.key to a certificate that the brokers trust"

// cureOf says whether an error is final, and what to do about it.
func cureOf(err error) (cure string, final bool) {
	var e *Error
	if errors.As(err, &e) {
		return e.Cure, e.Final
	}
	var code kafka.Error
	if errors.As(err, &code) {
		cure, final = cures[code]
		return cure, final
	}
	var guess *unsaid
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var unverified *tls.CertificateVerificationError
	var noTLS tls.RecordHeaderError
	var alert *net.OpError
	var refused *egress.Refused
	switch {
	case errors.As(err, &refused):
		return "", true // It says itself what to do.
	case errors.As(err, &guess):
		return guess.cure, true
	case errors.As(err, &name):
		return "set tls.serverName to a name that the brokers' certificates have", true
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "renew the brokers' certificates, or set this machine's clock", true
	case errors.As(err, &unverified):
		return "set tls.ca to the authority of the brokers' certificates", true
	case errors.As(err, &noTLS):
		return "the brokers' listener does not encrypt; leave tls out, or name another listener's port", true
	case errors.As(err, &alert) && alert.Op == "remote error":
		if strings.Contains(alert.Error(), "certificate") {
			return cureCertificate, true
		}
		return "the brokers and the router have no version of TLS, or cipher, in common", true
	case strings.Contains(err.Error(), "appears to be expecting TLS"):
		return "the brokers' listener encrypts; add tls: {}", true
	}
	return "", false
}

// Refused reports an answer to joining a group that trying again does not change. Once a broker has let us in, what looks like a wrong password is
// waited for: it is being changed, or a broker went away amid the exchange.
func (c *Client) Refused(err error) bool {
	for _, code := range []kafka.Error{
		kafka.GroupAuthorizationFailed, kafka.TopicAuthorizationFailed, kafka.InconsistentGroupProtocol, kafka.InvalidSessionTimeout, kafka.InvalidGroupId,
	} {
		if errors.Is(err, code) {
			return true
		}
	}
	if refused := (*egress.Refused)(nil); errors.As(err, &refused) {
		return true
	}
	return errors.Is(err, kafka.SASLAuthenticationFailed) && (c.mechanism == nil || !c.mechanism.welcome.Load())
}

// isUnknown reports an answer that says there is no such topic or partition.
func isUnknown(err error) bool {
	return errors.Is(err, kafka.UnknownTopicOrPartition) || errors.Is(err, protocol.ErrNoTopic) || errors.Is(err, protocol.ErrNoPartition)
}

// isUnsent reports an error of before anything went out.
func isUnsent(err error) bool {
	return errors.Is(err, protocol.ErrNoTopic) || errors.Is(err, protocol.ErrNoPartition) || errors.Is(err, protocol.ErrNoLeader) ||
		errors.Is(err, kafka.BrokerNotAvailable) || errors.Is(err, kafka.NotEnoughReplicas)
}

// answer makes an error of a code and a text in a broker's answer; nil of 0.
func answer(code int16, message string) error {
	switch {
	case code == 0:
		return nil
	case message == "":
		return kafka.Error(code)
	}
	return fmt.Errorf("%w: %s", kafka.Error(code), message)
}
