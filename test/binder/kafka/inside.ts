/** The pure parts inside of the adapter that are tested on their own. Not public: hence not by package name. */
// oxlint-disable no-restricted-imports -- the one file of these tests that reaches inside
export { gatedAssigner } from '../../../binder/kafka/assigner.ts'
export { Assignment } from '../../../binder/kafka/assignment.ts'
export type { IncomingRecord, KafkaBatch, KafkaClient } from '../../../binder/kafka/client.ts'
export { Commits } from '../../../binder/kafka/commits.ts'
export { isExpelled, isRebalance, kindOf, toTransportError } from '../../../binder/kafka/errors.ts'
export { Membership } from '../../../binder/kafka/membership.ts'
export { OffsetTracker } from '../../../binder/kafka/offset-tracker.ts'
export { resolveKafkaOptions } from '../../../binder/kafka/options.ts'
export { createPartitioner, type Envelope } from '../../../binder/kafka/partitioner.ts'
export { decodeRecord, encodeRecord, recordBytes } from '../../../binder/kafka/record.ts'
export { splitRequests } from '../../../binder/kafka/requests.ts'
