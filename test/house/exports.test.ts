import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'

/** Every value a user can import. A name added here is a promise; a name taken away breaks somebody. */
const NAMES: Readonly<Record<string, readonly string[]>> = {
  'concordat/core': [
    'CodecError',
    'ConcordatError',
    'DAY',
    'DEFAULT_BACKOFF',
    'HOUR',
    'MINUTE',
    'SECOND',
    'SchemaError',
    'SqlCommitError',
    'SqlTablesMissing',
    'SqlTransactionEnded',
    'backoffDelayMs',
    'bytesCodec',
    'hasCode',
    'isRetryable',
    'jsonCodec',
    'migrate',
    'newId',
    'quoteIdentifier',
    'resolveBackoff',
    'silentLogger',
    'systemClock',
    'textCodec',
    'toError',
    'validate',
  ],
  'concordat/core/pg': ['pgClient', 'pgListener', 'pgTransaction'],
  'concordat/core/pglite': ['pgliteClient'],
  'concordat/binder': [
    'BinderClosed',
    'BinderNotReady',
    'DEFAULT_PARTITIONS',
    'MAX_HEADERS',
    'MAX_HEADER_BYTES',
    'SendError',
    'TerminalError',
    'TransportError',
    'createBinder',
    'deadLetterName',
    'decodePayload',
    'defineChannel',
    'encodeMessage',
    'murmur2',
    'partitionOf',
    'processor',
    'several',
    'sink',
    'source',
  ],
  'concordat/binder/memory': ['memoryBroker', 'memoryTransport'],
  'concordat/binder/kafka': ['groupIdOf', 'kafkaTransport'],
  'concordat/binder/rabbitmq': ['rabbitTransport'],
  'concordat/outbox': [
    'InboxWithoutOutbox',
    'OutboxPartitionsMismatch',
    'OutboxPayloadTooLarge',
    'OutboxTextInvalid',
    'createInbox',
    'createOutbox',
    'createRelay',
  ],
  'concordat/saga': [
    'CoordinatorClosed',
    'OwnershipLost',
    'Refusal',
    'SAGA_HEADERS',
    'SagaActionRefused',
    'SagaConflict',
    'SagaGraphChanged',
    'SagaNotFound',
    'SagaPending',
    'StepTimeout',
    'advance',
    'createCoordinator',
    'currentSaga',
    'defineSaga',
    'initialState',
    'migrateParticipant',
    'participant',
    'sagaReplies',
  ],
  'concordat/locks': [
    'FenceRejected',
    'LockBusy',
    'LockLost',
    'LockReentered',
    'LockStoreRefused',
    'LockStoreUnavailable',
    'LockTimeout',
    'LocksClosed',
    'createFence',
    'createLocks',
  ],
  'concordat/locks/memory': ['memoryLockServer', 'memoryLocks'],
  'concordat/locks/redis': ['redisLocks'],
  'concordat/election': ['TermOver', 'createElection'],
}

describe('the public surface', () => {
  it.for(Object.entries(NAMES))('of %s is what is listed here', async ([subpath, names]) => {
    const exported = (await import(subpath)) as object
    expect(Object.keys(exported).toSorted((a, b) => (a < b ? -1 : 1))).toEqual(names)
  })

  it('has no other import path', async () => {
    const manifest = JSON.parse(await readFile('package.json', 'utf8')) as { exports: Record<string, unknown> }
    const subpaths = Object.keys(manifest.exports).map((subpath) => subpath.replace('.', 'concordat'))
    expect(subpaths.filter((subpath) => subpath !== 'concordat/package.json')).toEqual(Object.keys(NAMES))
  })

  it('has no default export', async () => {
    for (const subpath of Object.keys(NAMES)) expect(await import(subpath), subpath).not.toHaveProperty('default')
  })
})
