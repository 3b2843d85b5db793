/** Every error that can be imported, with its promise. */

import { OperatorLettersOutOfReach, OperatorStoreMissing, OperatorTransportMissing } from '@concordat/cli'
import { MysqlUnanswered } from '@concordat/mysql'
import { BinderError, RequestRefused, SendError, TerminalError, TransportError } from 'concordat/binder'
import { BusError } from 'concordat/bus'
import { ClusterError } from 'concordat/cluster'
import {
  CodecError,
  type ConcordatError,
  ReadsDeclarationsOnly,
  SchemaError,
  SqlCommitError,
  SqlError,
} from 'concordat/core'
import { ElectionError } from 'concordat/election'
import { DataDirectoryError } from 'concordat/embedded'
import { LockError, TokenError } from 'concordat/locks'
import { OperatorOutcomeNotKept } from 'concordat/operator'
import { OutboxError } from 'concordat/outbox'
import { WindowInvalid } from 'concordat/pipeline'
import { Refusal, SagaError } from 'concordat/saga'
import { ShardingError } from 'concordat/saga/coordinator'
import { BranchRefused, GlobalTransactionError } from 'concordat/saga/global'
import { UndoError } from 'concordat/saga/undo'
import { ServiceClosed, ServiceNotReady } from 'concordat/service'
// oxlint-disable-next-line no-restricted-imports -- no page needs it
import type { ErrorClass } from '../../../core/define-error-class.ts'

export interface Row {
  readonly error: ConcordatError
  readonly retryable: boolean
  /** Part of the message with the remedy, or the place to look. */
  readonly remedy: string
}

const row = (error: ConcordatError, retryable: boolean, remedy: string): Row => ({ error, retryable, remedy })

/** @returns a function that makes rows of this class */
function rowsOf<Fields>(made: ErrorClass<Fields>) {
  return <Code extends keyof Fields>(
    code: Code,
    retryable: boolean,
    remedy: string,
    ...given: [fields?: Fields[Code], cause?: unknown]
  ): Row => row(new made(code, ...(given as never)), retryable, remedy)
}

const sql = rowsOf(SqlError)
const binder = rowsOf(BinderError)
const lock = rowsOf(LockError)
const token = rowsOf(TokenError)
const election = rowsOf(ElectionError)
const cluster = rowsOf(ClusterError)
const bus = rowsOf(BusError)
const outbox = rowsOf(OutboxError)
const directory = rowsOf(DataDirectoryError)
const saga = rowsOf(SagaError)
const global = rowsOf(GlobalTransactionError)
const undo = rowsOf(UndoError)
const sharding = rowsOf(ShardingError)

const away = new TransportError({
  transport: 'kafka',
  kind: 'unavailable',
  message: 'no broker answers; is it up?',
})
const tooLarge = new TransportError({
  transport: 'kafka',
  kind: 'too_large',
  message: 'over 1 MB; send a reference',
})

export const ERRORS: readonly Row[] = [
  row(new CodecError('application/json', 'not JSON: unexpected end'), false, 'not JSON'),
  row(new SchemaError('payload of "a"', [{ path: 'n', message: 'expected 1' }]), false, 'n: expected 1'),
  row(new ReadsDeclarationsOnly('orders.start'), false, 'export them from a module that starts nothing'),
  sql('core.sql_statement_lost', true, 'preparedStatements'),
  sql('core.sql_cannot_prepare', false, 'restart the server', { message: 'off: restart the server' }),
  row(new SqlCommitError(), false, 'Let it propagate'),
  sql('core.tables_missing', false, 'npx concordat migrate apply --schema s', {
    schema: 's',
    call: 'outbox.migrate()',
    part: 'all',
  }),
  sql('core.rights_missing', true, 'npx concordat migrate grants --role shop --schema s', {
    schema: 's',
    role: 'shop',
    lacking: ['USAGE on s', 'SELECT on outbox'],
  }),
  sql('core.read_only', true, 'connect to the primary', { schema: 's', part: 'outbox' }),
  sql('core.migration_blocked', true, 'prepared transaction concordat:x since 9 s. Let these end', {
    schema: 's',
    part: 'saga',
    holders: ['prepared transaction concordat:x since 9 s'],
  }),
  sql('core.sql_version', false, 'run the release that migrated them', {
    schema: 's',
    part: 'outbox',
    found: 7,
    known: 0,
    call: 'outbox.migrate()',
  }),
  sql('core.sequence_behind', false, "SELECT setval('s.outbox_seq_seq', 9)", {
    table: 'outbox',
    column: 'seq',
    sequence: 's.outbox_seq_seq',
    last: '4',
    highest: '9',
    remedy: "SELECT setval('s.outbox_seq_seq', 9)",
  }),
  sql('core.sql_transaction_missing', false, "client.query('BEGIN')"),
  sql('core.sql_row_count', false, 'an adapter returns how many rows', { written: 1, rowCount: 0 }),
  sql('core.sql_own_transaction', false, 'use the `tx` that was handed in'),
  sql('core.sql_transaction_control', false, 'throw to roll back'),
  sql('core.sql_transaction_ended', false, 'await every query inside its callback'),
  row(new OperatorLettersOutOfReach({ channel: 'orders', group: 'stock' }, 1_000), false, 'redrive or drop some first'),
  row(
    new OperatorOutcomeNotKept(
      { action: 'release', target: 'sku:1' },
      { outcome: 'ended shop-1', result: undefined, cause: new Error('cut') },
    ),
    false,
    'do not do it again',
  ),
  row(new OperatorStoreMissing('no locks: give createOperator `locks`'), false, 'give createOperator'),
  row(
    new OperatorTransportMissing('without a transport: give createOperator `transport`'),
    false,
    'give createOperator',
  ),
  row(away, true, 'is it up?'),
  row(tooLarge, false, 'send a reference'),
  row(new SendError('a', 'id-1', away), true, 'is it up?'),
  row(new SendError('a', 'id-1', tooLarge), false, 'send a reference'),
  binder('binder.closed', false, 'send nothing after close()', { state: 'closed' }),
  binder('binder.closed', false, 'await start() of the binder, or of its service', { state: 'not started' }),
  binder('binder.not_ready', true, 'Check that the broker is up', { bindings: ['a.g'], problem: 'a.g is connecting' }),
  binder('binder.redrive_stalled', true, 'run it again', { destination: 'a.g.dlq', waitedMs: 9, sent: 1, kept: 2 }),
  binder('binder.redrive_position_unknown', false, '--reset-offsets --to-offset N --execute', {
    destination: 'a.g.dlq',
    group: 'redrive.a.g.dlq',
    open: { id: 'r1', position: 'offset 9' },
    settled: 'offset 3',
  }),
  binder('binder.redrive_would_repeat', false, "(to: 'group')", { channel: 'a', group: 'g', why: 'settles' }),
  binder('binder.cannot_settle_in', false, 'transactional: true', {
    path: 'sink("orders").settlesIn',
    channel: 'orders',
    why: 'channel',
    transport: 'postgres',
  }),
  binder('binder.batch_outcomes', false, 'Promise.allSettled(items.map(handle))', {
    binding: 'a.g',
    returned: '2 outcomes',
    expected: 3,
  }),
  row(new WindowInvalid('orders', 'box', { path: 'key', value: 7 }, 'a text'), false, 'expected a text'),
  token('tokens.refused', false, 'issue a new one', { purpose: 'login' }),
  token('tokens.store_unavailable', true, 'Check that', { store: 'redis', outcome: 'unknown', detail: 'gone' }),
  token('tokens.closed', false, 'make others with createTokens'),
  token('tokens.store_refused', false, 'Check the prefix', { store: 'redis' }, new Error('no')),
  binder('binder.no_route', false, 'add it, or a `default` handler', {
    channel: 'orders',
    route: 'odd',
    routes: ['new'],
  }),
  binder('binder.handler_timeout', true, 'hand context.signal to', { binding: 'orders.stock', timeoutMs: 100 }),
  binder('binder.payload_version', false, 'deploy the newer one', {
    channel: 'orders',
    version: 4,
    problem: 'this declaration knows 3 and older: deploy the newer one',
  }),
  binder('binder.request_timeout', true, 'ask again with the same id', { channel: 'prices.asked', timeoutMs: 100 }),
  row(new RequestRefused('no_stock', 'no kiwis left'), false, 'no kiwis left'),
  binder('binder.request_failed', false, 'answered a request on "prices.asked" with no_stock: no kiwis left', {
    channel: 'prices.asked',
    responder: 'prices',
    reason: 'no_stock',
    answer: 'no kiwis left',
    retryable: false,
  }),
  binder('binder.request_handled', false, 'look for what it did', { id: 'r1', destination: 'prices' }),
  binder('binder.kafka.batch_too_large', false, 'raise maxBatchBytes', { maxBytes: 1 }),
  binder('binder.kafka.codec_missing', true, 'npm install', { message: 'npm install lz4-napi' }),
  binder('binder.kafka.join_refused', false, 'has ended', { message: 'the subscription has ended', retriable: false }),
  row(new TerminalError('the order is unknown'), false, 'the order is unknown'),
  outbox('outbox.too_large', false, 'in createService: parts: { outbox: { maxPayloadBytes } }', {
    destination: 'a',
    messageId: 'id-1',
    bytes: 2,
    maxBytes: 1,
  }),
  outbox('outbox.text', false, 'encode it', { field: 'key', destination: 'a' }),
  outbox('outbox.owner', false, 'a schema of its own', { schema: 'concordat', service: 'billing', owner: 'shop' }),
  outbox('outbox.ambiguous', false, 'Say which', {
    id: 'o-1',
    places: [
      { destination: 'invoices', source: 'shop' },
      { destination: 'mails', source: 'shop' },
    ],
  }),
  outbox('outbox.partitions', false, 'set createOutbox({ partitions: 8 })', { schema: 's', configured: 4, stored: 8 }),
  outbox('outbox.partitions', false, 'call outbox.migrate() first', { schema: 's', configured: 4, stored: undefined }),
  outbox('outbox.closed', false, 'make another with createInbox()', { part: 'inbox', make: 'createInbox()' }),
  outbox('outbox.inbox_without_outbox', false, 'createInbox({ sql, outbox })', { group: 'g' }),
  outbox(
    'outbox.transaction_without_outbox',
    false,
    'give what createOutbox returns to createCoordinator({ outbox })',
    { destination: 'orders.confirmed', remedy: 'createCoordinator({ outbox })' },
  ),
  row(new Refusal('payments.declined', 'over the limit'), false, 'over the limit'),
  saga('saga.conflict', false, 'use another id', { saga: 's', id: 'id-1' }),
  saga('saga.input_unreadable', false, 'Give defineSaga an `upcast`', {
    sagas: [{ saga: 'place-order', version: 1, count: 2, ids: ['a', 'b'] }],
  }),
  saga(
    'saga.result_unreadable',
    false,
    'raise `version`',
    { saga: 's', id: 'id-1', version: 1, step: 'charge' },
    new Error('no total'),
  ),
  saga('saga.graph_changed', false, 'raise `version`', { saga: 's', version: 1 }),
  saga('saga.not_found', false, 'it was never started here', { saga: 's', id: 'id-1' }),
  saga('saga.action_refused', false, 'Look at its timeline', {
    saga: 's',
    id: 'id-1',
    action: 'retry',
    why: 'it is completed',
  }),
  saga('saga.payload_too_large', false, 'in createService: parts: { coordinator: { maxPayloadBytes } }', {
    subject: 'input of s/1',
    bytes: 9,
    maxBytes: 5,
  }),
  sharding('saga.other_shard', false, 'the database that shardOf() names', {
    saga: 's',
    id: 'id-1',
    shard: 'b',
    here: 'a',
  }),
  sharding('saga.shards_changed', true, 'start it again', { what: 'the layout is another' }),
  sharding('saga.shards_mismatch', false, 'call migrate()', { message: 'call migrate()' }),
  saga('saga.pending', true, 'ask again', { saga: 's', id: 'id-1', timeoutMs: 5 }),
  saga('saga.closed', false, 'start nothing after close()'),
  row(new BranchRefused('1.debit', 'saga.closed_account', 'no'), false, 'no'),
  global('saga.branch_failed', false, 'All of the transaction is cancelled', {
    branch: '1.debit',
    failure: { code: 'x', message: 'no disk' },
  }),
  global('saga.transaction_ended', false, 'takes no more calls', { transaction: 't', id: '1', why: 'x' }),
  global('saga.transaction_header', false, 'pass on what', { why: 'is x', statusCode: 400 }),
  global('saga.transaction_not_here', false, 'run a coordinator of', { owner: 'a', transaction: 't', service: 'b' }),
  global('saga.transaction_cancelled', false, 'was cancelled with x', {
    transaction: 't',
    id: '1',
    failure: { code: 'x', message: 'no disk' },
  }),
  global('saga.transaction_stuck', false, 'An operator has to act', {
    transaction: 't',
    id: '1',
    failure: { code: 'x', message: 'no disk' },
  }),
  undo('saga.undo_table', false, 'add one', {
    call: 'protect',
    table: 'public.t',
    problem: 'has no primary key: add one',
  }),
  undo('saga.undo_not_protected', false, 'call undo.protect', {
    key: 's/id-1/a',
    tables: ['t'],
    problem: 'call undo.protect',
  }),
  undo('saga.undo_conflict', false, 'n: expected 1, found 2. Put the rows right, or call undo.settle(); then retry', {
    key: 's/id-1/a',
    differences: [{ table: 'public.t', key: { id: '1' }, column: 'n', expected: '1', found: '2' }],
  }),
  undo('saga.undo_not_found', false, 'undo.open() lists what there is', { branch: 's/id-1/a' }),
  row(new MysqlUnanswered('XA COMMIT', 5), true, 'raise `answerMs`'),
  saga('saga.reply_strayed', false, 'Give each a service name of its own', {
    saga: 's',
    id: 'id-1',
    step: 'a',
    service: 'shop',
    channel: 'shop.replies',
    other: 'x',
    own: 'y',
  }),
  saga('saga.local_busy', true, 'Heed message.signal', { channel: 'pay', calls: 1 }),
  saga('saga.http_too_large', false, 'send a reference', { channel: 'pay', bytes: 2, maxBytes: 1 }),
  saga('saga.xa_not_yet', true, 'in this moment', { message: 's/id-1/a has begun in this moment' }),
  saga('saga.committed_by_hand', false, 'then skip or resolve', { key: 's/id-1/a' }),
  undo('saga.undo_not_yet', true, 'has to wait', { message: 's/id-1/a has to wait' }),
  undo('saga.wrong_participant', false, 'bring that participant back', { key: 's/id-1/a' }),
  saga('saga.step_role', true, 'call RESET ROLE before it returns', { key: 's/id-1/a' }),
  saga('saga.step_timeout', true, 'honour context.signal', { key: 's/id-1/a', timeoutMs: 5 }),
  row(
    new ServiceNotReady('shop', 'running', [{ name: 'binder', detail: 'no broker' }]),
    true,
    'binder (no broker). Check that its servers are up',
  ),
  directory('embedded.foreign', false, 'an empty folder', { dataDir: '/data', entry: 'PG_VERSION' }),
  directory('embedded.in_use', true, 'wait for its end', { dataDir: '/data', pid: 42 }),
  directory('embedded.in_use', true, 'another dataDir', { dataDir: '/data', pid: 0 }),
  directory('embedded.in_use', true, 'process 1 on host web-1: wait', { dataDir: '/data', pid: 1, host: 'web-1' }),
  directory('embedded.lost', true, 'start it again', { dataDir: '/data' }),
  directory('embedded.unusable', false, 'another dataDir', {
    dataDir: '/data',
    reason: 'EACCES',
    remedy: 'give embedded() another dataDir',
  }),
  row(new ServiceClosed('shop'), false, 'make another with createService'),
  saga('saga.ownership_lost', true, 'taken over by another coordinator', { saga: 's', id: 'id-1' }),
  lock('locks.busy', true, 'pass waitMs', { key: 'k', owner: 'me', retryAfterMs: 5 }),
  lock('locks.timeout', true, 'wait longer', { key: 'k', waitMs: 5, owner: undefined, position: 2 }),
  lock('locks.lost', true, 'Acquire again', { key: 'k', token: 7, reason: 'expired' }),
  lock('locks.lost', true, 'Split the work', { key: 'k', token: 7, reason: 'max_hold' }),
  lock('locks.store_unavailable', true, 'Check that it is up', {
    store: 'redis',
    outcome: 'unknown',
    detail: 'no answer',
  }),
  lock('locks.store_refused', false, 'Check the prefix', { store: 'redis' }, new Error('WRONGTYPE')),
  lock('locks.fence_rejected', true, 'acquire again', { resource: 'r', token: 6, lastToken: 7 }),
  lock(
    'locks.fenced_write_failed',
    false,
    'Fix the command',
    { resource: 'r', command: 'HSET', applied: 1 },
    new Error('WRONGTYPE'),
  ),
  lock('locks.holder_changed', false, 'look again', { key: 'sku:apple', holders: ['shop-2'] }),
  lock('locks.reentered', false, 'pass the lease on', { key: 'k' }),
  lock('locks.lease_headers', false, 'Send what leaseHeaders() returns', {
    header: 'lock-token',
    value: '"x"',
    expected: 'a number',
  }),
  lock('locks.lost', true, 'find out why', { key: 'k', token: 7, reason: 'forced' }),
  lock('locks.unsupported', false, 'Use a store that has it', { store: 'quorum', feature: 'mode', why: 'why' }),
  lock('locks.closed', false, 'acquire nothing after close()'),
  election('election.term_over', true, 'stop its work', { role: 'settlement', term: 7, reason: 'lost' }),
  election('election.closed', false, 'createSchedule()', { part: 'schedule', make: 'createSchedule()' }),
  election('election.job_timeout', true, 'honour run.signal', { job: 'sweep', timeoutMs: 5 }),
  cluster('cluster.store_unavailable', true, 'read the state before you go on', {
    store: 'redis',
    outcome: 'unknown',
    detail: 'no answer',
  }),
  cluster('cluster.store_unavailable', true, 'try again', {
    store: 'redis',
    outcome: 'not_done',
    detail: 'not connected',
  }),
  cluster('cluster.store_refused', false, 'Check the prefix', { store: 'redis' }, new Error('WRONGTYPE')),
  cluster('cluster.closed', false, 'use nothing of it after close()', { part: 'state "a"' }),
  cluster('cluster.member_evicted', false, 'Stop its work', { instance: 'a', generation: 7, reason: 'dead' }),
  cluster('cluster.member_evicted', false, 'an id of its own', { instance: 'a', generation: 7, reason: 'replaced' }),
  cluster('cluster.member_isolated', true, 'until it has reconnected', {
    instance: 'a',
    generation: 7,
    afterMs: 3_000,
  }),
  cluster('cluster.state_conflict', true, 'read it again', { state: 's', key: 'k', expected: 5, version: 7 }),
  cluster('cluster.data_invalid', false, 'convert it', {
    subject: 'state "s"',
    problem: '$.at is a Date: convert it first',
  }),
  cluster('cluster.data_too_large', false, 'a reference here', { subject: '"k" of state "s"', bytes: 9, maxBytes: 8 }),
  bus('bus.address', false, 'fewer parts end in **', { address: 'orders', expected: 'fewer parts end in **' }),
  bus('bus.closed', false, 'call start(binder) before publishing', { state: 'not started' }),
  bus('bus.closed', false, 'publish nothing after close()', { state: 'closed' }),
  bus('bus.not_ready', true, 'Check that the broker is up', { waiting: ['a is connecting'] }),
  bus('bus.forbidden', false, 'the authorize option', { event: 'e', from: 'a:b:c', to: '**' }),
  bus('bus.payload_too_large', false, 'send a reference', { event: 'e', bytes: 2, maxBytes: 1 }),
  bus('bus.schema_timeout', true, 'raise handlerTimeoutMs', {
    subject: 'event "e"',
    timeoutMs: 1,
    option: 'handlerTimeoutMs',
  }),
  bus('bus.handler_timeout', true, 'raise handlerTimeoutMs', { event: 'e', timeoutMs: 1 }),
  bus('bus.control_refused', false, 'bindings of this', { message: 'bindings of this instance: a' }),
]
