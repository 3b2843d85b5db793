import { describe, expect, it } from 'vitest'
import { entriesOf, PACKAGES } from '../../scripts/packages.ts'
import { importedNames, namesInPages, publicNames } from './support/public-names.ts'

/** Every value that a user can import. Adding a name is a promise; removing one breaks users. */
const NAMES: Readonly<Record<string, readonly string[]>> = {
  'concordat/memory': [
    'memoryBroker',
    'memoryLockServer',
    'memoryLocks',
    'memoryStateServer',
    'memoryStateStore',
    'memoryTokens',
    'memoryTransport',
  ],
  'concordat/postgres': ['postgresLocks', 'postgresStateStore', 'postgresTokens', 'postgresTransport'],
  'concordat/redis': ['redisFence', 'redisLocks', 'redisStateStore', 'redisTokens', 'redlockLocks'],
  'concordat/extension': [
    'DEFAULT_SCHEMA',
    'TransactionScope',
    'causesOf',
    'checkLogger',
    'fieldOf',
    'hasMethods',
    'inSaga',
    'invalidOption',
    'isDeeperThan',
    'messageOf',
    'missingRights',
    'optionNames',
    'ownQuery',
    'printable',
    'quoteLiteral',
    'randomId',
    'readable',
    'refuseUnknown',
    'requireFunction',
    'requireInteger',
    'requireList',
    'requireText',
    'restartIds',
    'scriptedSaga',
    'shellWord',
    'stored',
    'toError',
    'virtualTimeIn',
    'within',
    'withoutSecrets',
    'wrongKind',
  ],
  'concordat/core': [
    'CodecError',
    'ConcordatError',
    'DAY',
    'HOUR',
    'MINUTE',
    'ReadsDeclarationsOnly',
    'SECOND',
    'SchemaError',
    'SqlCommitError',
    'SqlError',
    'bytesCodec',
    'hasCode',
    'jsonCodec',
    'migrate',
    'quoteIdentifier',
    'silentLogger',
    'stderrLogger',
    'systemClock',
    'textCodec',
    'toNode',
    'validate',
  ],
  'concordat/core/opentelemetry': ['openTelemetry'],
  'concordat/core/orms': [
    'drizzleTransaction',
    'knexTransaction',
    'kyselyClient',
    'kyselyTransaction',
    'mikroOrmTransaction',
    'postgresTransaction',
    'prismaTransaction',
    'typeormTransaction',
  ],
  'concordat/core/pg': ['pgClient', 'pgConnection', 'pgListener', 'pgPrimary', 'pgTransaction'],
  'concordat/core/pglite': ['pgliteClient'],
  'concordat/binder': [
    'BinderError',
    'RequestRefused',
    'SendError',
    'TerminalError',
    'TransportError',
    'VERSION_HEADER',
    'carryHeaders',
    'channelAt',
    'combineTransports',
    'createBinder',
    'deadLetterName',
    'decodePayload',
    'defineChannel',
    'encodeMessage',
    'failed',
    'ignoreErrors',
    'into',
    'ok',
    'partitionOf',
    'pollable',
    'processor',
    'processorBatch',
    'produced',
    'redrive',
    'responder',
    'route',
    'several',
    'sink',
    'sinkBatch',
    'source',
    'timeout',
    'to',
    'withContext',
  ],
  'concordat/pipeline': ['WindowInvalid', 'from', 'migratePipelines', 'pipeline'],
  'concordat/binder/kafka': ['kafkaTransport'],
  'concordat/binder/kafka/platformatic': ['platformaticTransport'],
  'concordat/binder/rabbitmq': ['rabbitTransport'],
  'concordat/outbox': ['OutboxError', 'createInbox', 'createOutbox', 'createRelay'],
  'concordat/saga': [
    'Refusal',
    'SAGA_HEADERS',
    'SagaError',
    'currentSaga',
    'defineSaga',
    'localTarget',
    'migrateParticipant',
    'participant',
    'purgeParticipant',
    'sagaReplies',
  ],
  'concordat/saga/coordinator': ['ShardingError', 'createCoordinator', 'createShardedCoordinator'],
  'concordat/saga/global': [
    'BranchRefused',
    'GlobalTransactionError',
    'TRANSACTION_HEADER',
    'currentGlobalTransaction',
    'defineBranch',
    'defineGlobalTransaction',
    'outsideGlobalTransaction',
    'transactionHeaders',
  ],
  'concordat/saga/http': ['bearer', 'httpParticipants', 'httpTarget', 'transactionFetch', 'transactionMiddleware'],
  'concordat/saga/tcc': ['tccParticipant'],
  'concordat/saga/undo': ['UndoError', 'undo', 'undoParticipant'],
  'concordat/saga/xa': ['xaParticipant'],
  'concordat/locks': [
    'LEASE_HEADERS',
    'LockError',
    'TokenError',
    'createFence',
    'createLocks',
    'createTokens',
    'currentLease',
    'fencedUpdate',
    'leaseFromHeaders',
    'leaseHeaders',
  ],
  'concordat/election': ['ElectionError', 'createElection', 'createObserver', 'createSchedule'],
  'concordat/cluster': ['ClusterError', 'createMembership', 'createSharedState'],
  'concordat/bus': [
    'BusError',
    'ConfigChanged',
    'PauseBinding',
    'Refresh',
    'ResumeBinding',
    'SendReports',
    'SetLogLevel',
    'Shutdown',
    'createBus',
    'defineEvent',
    'formatAddress',
    'matchesAddress',
    'onEvent',
  ],
  'concordat/service': ['ServiceClosed', 'ServiceNotReady', 'closeOnSignals', 'createService', 'httpProblem'],
  'concordat/embedded': ['DataDirectoryError', 'embedded'],
  'concordat/operator': [
    'OperatorOutcomeNotKept',
    'checkName',
    'describeSystem',
    'lagWithRetries',
    'leavesOutHeld',
    'migrationParts',
    'operatorRecords',
    'preparedRemedy',
    'printGrants',
    'printMigrations',
    'readDeclarationsOnly',
    'readSystem',
    'requireNote',
    'requireTarget',
    'resolveSecrets',
    'startedByUs',
  ],
  'concordat/testing': [
    'attemptFailed',
    'createTestKit',
    'done',
    'due',
    'expired',
    'explore',
    'given',
    'omitted',
    'operator',
    'refused',
    'signalled',
    'undone',
  ],
  '@concordat/cli': [
    'OperatorLettersOutOfReach',
    'OperatorStoreMissing',
    'OperatorTransportMissing',
    'createOperator',
    'declaredPlaces',
    'missingGroups',
    'systemMermaid',
    'systemText',
  ],
  '@concordat/cli/asyncapi': ['asyncapi', 'asyncapiDiff'],
  '@concordat/cli/words': ['MOST_COUNTED', 'counted', 'failureName'],
  '@concordat/console': ['CONSOLE_ACTIONS', 'createConsole', 'oneTimeSession'],
  '@concordat/mysql': ['MysqlUnanswered', 'XA_TABLE_DDL', 'mysqlResource'],
  '@concordat/nest': [
    'Cancel',
    'Compensate',
    'ConcordatHealth',
    'ConcordatModule',
    'ConcordatService',
    'Confirm',
    'InjectBus',
    'InjectCoordinator',
    'InjectLocks',
    'InjectOutbox',
    'InjectSender',
    'InjectService',
    'Invoke',
    'Processor',
    'Sink',
    'Source',
    'Try',
    'UndoParticipant',
    'XaParticipant',
  ],
  '@concordat/simulator': ['SimulationFailed', 'simulate'],
  '@concordat/state-language': ['importStateMachine'],
}

/** Subpaths for those who implement a contract, which name all that its methods take and return. */
const CONTRACTS: ReadonlySet<string> = new Set([
  'concordat/extension',
  'concordat/extension',
  'concordat/extension',
  'concordat/extension',
])

/** Types that no page writes and no example imports, and that users need all the same. */
const NEEDED: Readonly<Record<string, string>> = {
  implemented: 'Codec BatchMiddleware Inbox TokenStore TokenRecord',
  'parameters and results of handlers': `BatchItem BatchContext BatchTransactionContext BatchOutcome Addressed Outputs Headers
    EventContext StepContext RequestContext WithTransaction TccConfirmContext TccCancelContext`,
  'results that users keep or export': `BatchBinding ConsumerBinding PollBinding ProcessorBinding SourceBinding Flow FlowEnd Pipeline
    SagaBuilder ForwardSagaBuilder SagaRun DirectTarget HttpTarget ShardedCoordinator Stored
    Branch GlobalTransaction GlobalTransactionDefinition FetchHandler NodeHandler SignalHandling
    PostgresTransport SqlInbox Relay LeaseSet RedisFence PostgresLocks Tokens PostgresTokens
    Election Term Observer Schedule Membership PostgresStateStore TestKit EventSubscription WatchedConfig`,
  'results of methods that users return from functions of their own': `PgPool TransactionConnection RedriveReport BindingControl
    BindingStatus Topology BinderHealth SagaScope SagaSummary SagaReport SagaHealth TimelineRow SagaFailure LeaseToken LockInfo HttpProblem
    Exploration Story SagaEvent AnyHeaders Address ReportWatch BusHealth OutboxStats ParkedMessage RelayHealth Member StateEntry OpenUndo`,
  'options that a wrapper passes on': 'BinderOptions',
}

describe('the public surface', () => {
  it('has only names that a page, an example, another package or an implementer of a contract writes', () => {
    const [pages, imports] = [namesInPages(), importedNames()]
    const needed = new Set(Object.values(NEEDED).flatMap((names) => names.split(/\s+/)))
    const unused = publicNames().filter((entry) => {
      const [path = '', name = ''] = entry.split(' ')
      return !pages.has(name) && !imports.has(entry) && !CONTRACTS.has(path) && !needed.has(name)
    })
    expect(unused, 'export no name that users need not write: they can read a type off what has it').toEqual([])
  })

  it('has each name on one subpath', () => {
    const names = publicNames().map((entry) => entry.split(' ')[1])
    expect(names.filter((name, n) => names.indexOf(name) !== n)).toEqual([])
  })

  it.for(Object.entries(NAMES))('the public surface of %s matches the list', async ([subpath, names]) => {
    const exported = (await import(subpath)) as object
    expect(Object.keys(exported).toSorted((a, b) => (a < b ? -1 : 1))).toEqual(names)
  })

  it('has no other import path', () => {
    expect(PACKAGES.flatMap(entriesOf).map(({ path }) => path)).toEqual(Object.keys(NAMES))
  })

  it('has no default export', async () => {
    for (const subpath of Object.keys(NAMES)) expect(await import(subpath), subpath).not.toHaveProperty('default')
  })
})
