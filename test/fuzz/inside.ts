/** Internal readers of bytes. They are not public: hence not imported by package name. */
// oxlint-disable no-restricted-imports -- the one file of the fuzzer that reaches inside

export { decodePayload } from '../../binder/channel/message-codec.ts'
export { upcastPayload } from '../../binder/channel/payload-version.ts'
export { toDeadLetter, toTrimmedDeadLetter } from '../../binder/consuming/failure/dead-letter-message.ts'
export type { IncomingRecord } from '../../binder/kafka/driver.ts'
export { findCoordinator, metadata } from '../../binder/kafka/platformatic/protocol/cluster.ts'
export { KafkaRefusal } from '../../binder/kafka/platformatic/protocol/errors.ts'
export { fetch } from '../../binder/kafka/platformatic/protocol/fetch.ts'
export { heartbeat, joinGroup, leaveGroup, syncGroup } from '../../binder/kafka/platformatic/protocol/group.ts'
export { commitOffsets, fetchOffsets, listOffsets } from '../../binder/kafka/platformatic/protocol/offsets.ts'
export { initProducerId, produce } from '../../binder/kafka/platformatic/protocol/produce.ts'
export type { Request } from '../../binder/kafka/platformatic/protocol/request-codec.ts'
export { createTopics } from '../../binder/kafka/platformatic/protocol/topics.ts'
export { readBatches } from '../../binder/kafka/records/batch-reader.ts'
export { writeBatch } from '../../binder/kafka/records/batch-writer.ts'
export { ByteReader, ByteWriter } from '../../binder/kafka/records/bytes.ts'
export { ChunkedBytes } from '../../binder/kafka/records/chunked-bytes.ts'
export { crc32c } from '../../binder/kafka/records/crc32c.ts'
export { decodeLz4Frame, encodeLz4Frame } from '../../binder/kafka/wire/lz4-frame.ts'
export { decodeRecord, encodeRecord, recordBytes } from '../../binder/kafka/wire/record.ts'
export { decodeXerial, encodeXerial } from '../../binder/kafka/wire/xerial.ts'
export { messageOf as fromRow, metaOf } from '../../binder/postgres/message-row.ts'
export { fromAmqp, toAmqp } from '../../binder/rabbitmq/wire/envelope.ts'
export { readDeadLetter } from '../../binder/redrive/letter.ts'
export { AcceptedReplyAddresses } from '../../binder/requests/accepted-reply-addresses.ts'
export { askingOf, readReply } from '../../binder/requests/request-reply-format.ts'
export { unfoldStructured } from '../../binder/transport/foreign-cloud-events.ts'
export { parsePattern } from '../../bus/address.ts'
export {
  ackHeaders,
  eventHeaders,
  parseAck,
  parseEvent,
  parsePresence,
  parseReport,
  presenceHeaders,
  reportHeaders,
  signedFields,
} from '../../bus/envelope.ts'
export { decodeOutcome, encodeOutcome, failedWith } from '../../bus/outcome.ts'
export { decodeReport, encodeReport } from '../../bus/reports/instance-report.ts'
export { Signer } from '../../bus/signature.ts'
export { readTraceContext, traceHeaders } from '../../core/trace-context.ts'
export { logEntry as rowEntry, memberRecord, stateRecord } from '../../election/cluster/postgres/row-conversion.ts'
export { tagOf } from '../../election/cluster/redis/keys.ts'
export {
  changesReply,
  commitReply,
  logEntry,
  membersReading,
  memberText,
  stateReading,
} from '../../election/cluster/redis/script-replies.ts'
export { StateValues } from '../../election/cluster/state/state-values.ts'
export { heldKey } from '../../locks/redis/keys.ts'
export { notHeld, termsOf, valueOf } from '../../locks/redis/lock-value-format.ts'
export { RedisOperator } from '../../locks/redis/operator.ts'
export { lockInfo } from '../../locks/redlock/inspect.ts'
export { lockDelayOf, ownerOf } from '../../locks/redlock/value.ts'
export { headersColumn } from '../../outbox/headers-column.ts'
export { messageOf as fromOutboxRow } from '../../outbox/rows.ts'
export { Schemas } from '../../packages/cli/asyncapi/payload-schemas.ts'
export { StoreClusterAdmin } from '../../packages/cli/cluster-admin.ts'
export { run as runCommand } from '../../packages/cli/commands/run-command-line.ts'
export { readCursor, writeCursor } from '../../packages/cli/cursor.ts'
export { listSagas } from '../../packages/cli/sagas/saga-list.ts'
export { showBody } from '../../packages/console/redaction.ts'
export { parseExpression } from '../../packages/state-language/expression.ts'
export { replyEvent } from '../../saga/coordinator/outcome-to-event.ts'
export { post } from '../../saga/http/post.ts'
export { formatTransaction, readTransaction } from '../../saga/wire/transaction-header.ts'
export { answerTo, readCommandHeaders, sagaReplies } from '../../saga/wire/wire.ts'
