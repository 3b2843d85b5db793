/** Every error that can be imported, with its promise. */

import * as operate from '@concordat/cli'
import * as sagaMysql from '@concordat/mysql'
import * as binder from 'concordat/binder'
import * as bus from 'concordat/bus'
import * as cluster from 'concordat/cluster'
import * as core from 'concordat/core'
import { ConcordatError } from 'concordat/core'
import * as election from 'concordat/election'
import * as embedded from 'concordat/embedded'
import * as locks from 'concordat/locks'
import * as operator from 'concordat/operator'
import * as outbox from 'concordat/outbox'
import * as pipelines from 'concordat/pipeline'
import * as saga from 'concordat/saga'
import * as sagaGlobal from 'concordat/saga/global'
import * as sagaSharding from 'concordat/saga/sharding'
import * as sagaUndo from 'concordat/saga/undo'
import * as service from 'concordat/service'
import * as tokens from 'concordat/tokens'

export interface Row {
  readonly error: ConcordatError
  readonly retryable: boolean
  /** Part of the message with the remedy, or the place to look. */
  readonly remedy: string
}

const row = (error: ConcordatError, retryable: boolean, remedy: string): Row => ({ error, retryable, remedy })
const away = new binder.TransportError({
  transport: 'kafka',
  kind: 'unavailable',
  message: 'no broker answers; is it up?',
})
const tooLarge = new binder.TransportError({
  transport: 'kafka',
  kind: 'too_large',
  message: 'over 1 MB; send a reference',
})

export const ERRORS: readonly Row[] = [
  row(new core.CodecError('application/json', 'not JSON: unexpected end'), false, 'not JSON'),
  row(new core.SchemaError('payload of "a"', [{ path: 'n', message: 'expected 1' }]), false, 'n: expected 1'),
  row(new core.ReadsDeclarationsOnly('orders.start'), false, 'export them from a module that starts nothing'),
  row(new core.SqlError('core.sql_statement_lost'), true, 'preparedStatements'),
  row(
    new core.SqlError('core.sql_cannot_prepare', { message: 'off: restart the server' }),
    false,
    'restart the server',
  ),
  row(new core.SqlCommitError(), false, 'Let it propagate'),
  row(
    new core.SqlError('core.tables_missing', { schema: 's', call: 'outbox.migrate()' }),
    false,
    'call outbox.migrate() first',
  ),
  row(
    new core.SqlError('core.migration_blocked', {
      schema: 's',
      part: 'saga',
      holders: ['prepared transaction concordat:x since 9 s'],
    }),
    true,
    'prepared transaction concordat:x since 9 s. Let these end',
  ),
  row(
    new core.SqlError('core.sql_version', {
      schema: 's',
      part: 'outbox',
      found: 7,
      known: 0,
      call: 'outbox.migrate()',
    }),
    false,
    'run the release that migrated them',
  ),
  row(
    new core.SqlError('core.sequence_behind', {
      table: 'outbox',
      column: 'seq',
      sequence: 's.outbox_seq_seq',
      last: '4',
      highest: '9',
      remedy: "SELECT setval('s.outbox_seq_seq', 9)",
    }),
    false,
    "SELECT setval('s.outbox_seq_seq', 9)",
  ),
  row(new core.SqlError('core.sql_transaction_missing'), false, "client.query('BEGIN')"),
  row(new core.SqlError('core.sql_row_count', { written: 1, rowCount: 0 }), false, 'an adapter returns how many rows'),
  row(new core.SqlError('core.sql_own_transaction'), false, 'use the `tx` that was handed in'),
  row(new core.SqlError('core.sql_transaction_control'), false, 'throw to roll back'),
  row(new core.SqlError('core.sql_transaction_ended'), false, 'await every query inside its callback'),
  row(
    new operate.OperatorLettersOutOfReach({ channel: 'orders', group: 'stock' }, 1_000),
    false,
    'redrive or drop some first',
  ),
  row(
    new operator.OperatorOutcomeNotKept(
      { action: 'release', target: 'sku:1' },
      { outcome: 'ended shop-1', result: undefined, cause: new Error('cut') },
    ),
    false,
    'do not do it again',
  ),
  row(new operate.OperatorStoreMissing('no locks: give createOperator `locks`'), false, 'give createOperator'),
  row(
    new operate.OperatorTransportMissing('without a transport: give createOperator `transport`'),
    false,
    'give createOperator',
  ),
  row(away, true, 'is it up?'),
  row(tooLarge, false, 'send a reference'),
  row(new binder.SendError('a', 'id-1', away), true, 'is it up?'),
  row(new binder.SendError('a', 'id-1', tooLarge), false, 'send a reference'),
  row(new binder.BinderError('binder.closed', { state: 'closed' }), false, 'send nothing after close()'),
  row(
    new binder.BinderError('binder.closed', { state: 'not started' }),
    false,
    'await start() of the binder, or of its service',
  ),
  row(
    new binder.BinderError('binder.not_ready', { bindings: ['a.g'], problem: 'a.g is connecting' }),
    true,
    'Check that the broker is up',
  ),
  row(
    new binder.BinderError('binder.redrive_stalled', { destination: 'a.g.dlq', waitedMs: 9, sent: 1, kept: 2 }),
    true,
    'run it again',
  ),
  row(
    new binder.BinderError('binder.redrive_position_unknown', {
      destination: 'a.g.dlq',
      group: 'redrive.a.g.dlq',
      open: { id: 'r1', position: 'offset 9' },
      settled: 'offset 3',
    }),
    false,
    '--reset-offsets --to-offset N --execute',
  ),
  row(
    new binder.BinderError('binder.redrive_would_repeat', { channel: 'a', group: 'g', why: 'settles' }),
    false,
    "(to: 'group')",
  ),
  row(
    new binder.BinderError('binder.cannot_settle_in', {
      path: 'sink("orders").settlesIn',
      channel: 'orders',
      why: 'channel',
      transport: 'postgres',
    }),
    false,
    'transactional: true',
  ),
  row(
    new binder.BinderError('binder.batch_outcomes', { binding: 'a.g', returned: '2 outcomes', expected: 3 }),
    false,
    'Promise.allSettled(items.map(handle))',
  ),
  row(new pipelines.WindowInvalid('orders', 'box', { path: 'key', value: 7 }, 'a text'), false, 'expected a text'),
  row(new tokens.TokenError('tokens.refused', { purpose: 'login' }), false, 'issue a new one'),
  row(
    new tokens.TokenError('tokens.store_unavailable', { store: 'redis', outcome: 'unknown', detail: 'gone' }),
    true,
    'Check that',
  ),
  row(new tokens.TokenError('tokens.closed'), false, 'make others with createTokens'),
  row(new tokens.TokenError('tokens.store_refused', { store: 'redis' }, new Error('no')), false, 'Check the prefix'),
  row(
    new binder.BinderError('binder.no_route', { channel: 'orders', route: 'odd', routes: ['new'] }),
    false,
    'add it, or a `default` handler',
  ),
  row(
    new binder.BinderError('binder.handler_timeout', { binding: 'orders.stock', timeoutMs: 100 }),
    true,
    'hand context.signal to',
  ),
  row(
    new binder.BinderError('binder.payload_version', {
      channel: 'orders',
      version: 4,
      problem: 'this declaration knows 3 and older: deploy the newer one',
    }),
    false,
    'deploy the newer one',
  ),
  row(
    new binder.BinderError('binder.request_timeout', { channel: 'prices.asked', timeoutMs: 100 }),
    true,
    'ask again with the same id',
  ),
  row(new binder.RequestRefused('no_stock', 'no kiwis left'), false, 'no kiwis left'),
  row(
    new binder.BinderError('binder.request_failed', {
      channel: 'prices.asked',
      responder: 'prices',
      reason: 'no_stock',
      answer: 'no kiwis left',
      retryable: false,
    }),
    false,
    'answered a request on "prices.asked" with no_stock: no kiwis left',
  ),
  row(
    new binder.BinderError('binder.request_handled', { id: 'r1', destination: 'prices' }),
    false,
    'look for what it did',
  ),
  row(new binder.BinderError('binder.kafka.batch_too_large', { maxBytes: 1 }), false, 'raise maxBatchBytes'),
  row(new binder.BinderError('binder.kafka.codec_missing', { message: 'npm install lz4-napi' }), true, 'npm install'),
  row(
    new binder.BinderError('binder.kafka.join_refused', { message: 'the subscription has ended', retriable: false }),
    false,
    'has ended',
  ),
  row(new binder.TerminalError('the order is unknown'), false, 'the order is unknown'),
  row(
    new outbox.OutboxError('outbox.too_large', { destination: 'a', messageId: 'id-1', bytes: 2, maxBytes: 1 }),
    false,
    'send a reference instead',
  ),
  row(new outbox.OutboxError('outbox.text', { field: 'key', destination: 'a' }), false, 'encode it'),
  row(
    new outbox.OutboxError('outbox.owner', { schema: 'concordat', service: 'billing', owner: 'shop' }),
    false,
    'a schema of its own',
  ),
  row(
    new outbox.OutboxError('outbox.ambiguous', {
      id: 'o-1',
      places: [
        { destination: 'invoices', source: 'shop' },
        { destination: 'mails', source: 'shop' },
      ],
    }),
    false,
    'Say which',
  ),
  row(
    new outbox.OutboxError('outbox.partitions', { schema: 's', configured: 4, stored: 8 }),
    false,
    'set createOutbox({ partitions: 8 })',
  ),
  row(
    new outbox.OutboxError('outbox.partitions', { schema: 's', configured: 4, stored: undefined }),
    false,
    'call outbox.migrate() first',
  ),
  row(
    new outbox.OutboxError('outbox.closed', { part: 'inbox', make: 'createInbox()' }),
    false,
    'make another with createInbox()',
  ),
  row(new outbox.OutboxError('outbox.inbox_without_outbox', { group: 'g' }), false, 'createInbox({ sql, outbox })'),
  row(
    new outbox.OutboxError('outbox.transaction_without_outbox', {
      destination: 'orders.confirmed',
      remedy: 'createCoordinator({ outbox })',
    }),
    false,
    'give what createOutbox returns to createCoordinator({ outbox })',
  ),
  row(new saga.Refusal('payments.declined', 'over the limit'), false, 'over the limit'),
  row(new saga.SagaError('saga.conflict', { saga: 's', id: 'id-1' }), false, 'use another id'),
  row(
    new saga.SagaError('saga.input_unreadable', {
      sagas: [{ saga: 'place-order', version: 1, count: 2, ids: ['a', 'b'] }],
    }),
    false,
    'Give defineSaga an `upcast`',
  ),
  row(
    new saga.SagaError(
      'saga.result_unreadable',
      { saga: 's', id: 'id-1', version: 1, step: 'charge' },
      new Error('no total'),
    ),
    false,
    'raise `version`',
  ),
  row(new saga.SagaError('saga.graph_changed', { saga: 's', version: 1 }), false, 'raise `version`'),
  row(new saga.SagaError('saga.not_found', { saga: 's', id: 'id-1' }), false, 'it was never started here'),
  row(
    new saga.SagaError('saga.action_refused', { saga: 's', id: 'id-1', action: 'retry', why: 'it is completed' }),
    false,
    'Look at its timeline',
  ),
  row(
    new saga.SagaError('saga.payload_too_large', { subject: 'input of s/1', bytes: 9, maxBytes: 5 }),
    false,
    'raise maxPayloadBytes',
  ),
  row(
    new sagaSharding.ShardingError('saga.other_shard', { saga: 's', id: 'id-1', shard: 'b', here: 'a' }),
    false,
    'the database that shardOf() names',
  ),
  row(new sagaSharding.ShardingError('saga.shards_changed', { what: 'the layout is another' }), true, 'start it again'),
  row(new sagaSharding.ShardingError('saga.shards_mismatch', { message: 'call migrate()' }), false, 'call migrate()'),
  row(new saga.SagaError('saga.pending', { saga: 's', id: 'id-1', timeoutMs: 5 }), true, 'ask again'),
  row(new saga.SagaError('saga.closed'), false, 'start nothing after close()'),
  row(new sagaGlobal.BranchRefused('1.debit', 'saga.closed_account', 'no'), false, 'no'),
  row(
    new sagaGlobal.GlobalTransactionError('saga.branch_failed', {
      branch: '1.debit',
      failure: { code: 'x', message: 'no disk' },
    }),
    false,
    'All of the transaction is cancelled',
  ),
  row(
    new sagaGlobal.GlobalTransactionError('saga.transaction_ended', { transaction: 't', id: '1', why: 'x' }),
    false,
    'takes no more calls',
  ),
  row(
    new sagaGlobal.GlobalTransactionError('saga.transaction_header', { why: 'is x', statusCode: 400 }),
    false,
    'pass on what',
  ),
  row(
    new sagaGlobal.GlobalTransactionError('saga.transaction_not_here', { owner: 'a', transaction: 't', service: 'b' }),
    false,
    'run a coordinator of',
  ),
  row(
    new sagaGlobal.GlobalTransactionError('saga.transaction_cancelled', {
      transaction: 't',
      id: '1',
      failure: { code: 'x', message: 'no disk' },
    }),
    false,
    'was cancelled with x',
  ),
  row(
    new sagaGlobal.GlobalTransactionError('saga.transaction_stuck', {
      transaction: 't',
      id: '1',
      failure: { code: 'x', message: 'no disk' },
    }),
    false,
    'An operator has to act',
  ),
  row(
    new sagaUndo.UndoError('saga.undo_table', {
      call: 'protect',
      table: 'public.t',
      problem: 'has no primary key: add one',
    }),
    false,
    'add one',
  ),
  row(
    new sagaUndo.UndoError('saga.undo_not_protected', { key: 's/id-1/a', tables: ['t'], problem: 'call undo.protect' }),
    false,
    'call undo.protect',
  ),
  row(
    new sagaUndo.UndoError('saga.undo_conflict', {
      key: 's/id-1/a',
      differences: [{ table: 'public.t', key: { id: '1' }, column: 'n', expected: '1', found: '2' }],
    }),
    false,
    'n: expected 1, found 2. Put the rows right, or call undo.settle(); then retry',
  ),
  row(new sagaUndo.UndoError('saga.undo_not_found', { branch: 's/id-1/a' }), false, 'undo.open() lists what there is'),
  row(new sagaMysql.MysqlUnanswered('XA COMMIT', 5), true, 'raise `answerMs`'),
  row(
    new saga.SagaError('saga.reply_strayed', {
      saga: 's',
      id: 'id-1',
      step: 'a',
      service: 'shop',
      channel: 'shop.replies',
      other: 'x',
      own: 'y',
    }),
    false,
    'Give each a service name of its own',
  ),
  row(new saga.SagaError('saga.local_busy', { channel: 'pay', calls: 1 }), true, 'Heed message.signal'),
  row(new saga.SagaError('saga.http_too_large', { channel: 'pay', bytes: 2, maxBytes: 1 }), false, 'send a reference'),
  row(new saga.SagaError('saga.xa_not_yet', { message: 's/id-1/a has begun in this moment' }), true, 'in this moment'),
  row(new saga.SagaError('saga.committed_by_hand', { key: 's/id-1/a' }), false, 'then skip or resolve'),
  row(new sagaUndo.UndoError('saga.undo_not_yet', { message: 's/id-1/a has to wait' }), true, 'has to wait'),
  row(new sagaUndo.UndoError('saga.wrong_participant', { key: 's/id-1/a' }), false, 'bring that participant back'),
  row(new saga.SagaError('saga.step_role', { key: 's/id-1/a' }), true, 'call RESET ROLE before it returns'),
  row(new saga.SagaError('saga.step_timeout', { key: 's/id-1/a', timeoutMs: 5 }), true, 'honour context.signal'),
  row(
    new service.ServiceNotReady('shop', 'running', [{ name: 'binder', detail: 'no broker' }]),
    true,
    'binder (no broker). Check that its servers are up',
  ),
  row(
    new embedded.DataDirectoryError('embedded.foreign', { dataDir: '/data', entry: 'PG_VERSION' }),
    false,
    'an empty folder',
  ),
  row(new embedded.DataDirectoryError('embedded.in_use', { dataDir: '/data', pid: 42 }), true, 'wait for its end'),
  row(new embedded.DataDirectoryError('embedded.in_use', { dataDir: '/data', pid: 0 }), true, 'another dataDir'),
  row(
    new embedded.DataDirectoryError('embedded.in_use', { dataDir: '/data', pid: 1, host: 'web-1' }),
    true,
    'process 1 on host web-1: wait',
  ),
  row(new embedded.DataDirectoryError('embedded.lost', { dataDir: '/data' }), true, 'start it again'),
  row(
    new embedded.DataDirectoryError('embedded.unusable', {
      dataDir: '/data',
      reason: 'EACCES',
      remedy: 'give embedded() another dataDir',
    }),
    false,
    'another dataDir',
  ),
  row(new service.ServiceClosed('shop'), false, 'make another with createService'),
  row(new saga.SagaError('saga.ownership_lost', { saga: 's', id: 'id-1' }), true, 'taken over by another coordinator'),
  row(new locks.LockError('locks.busy', { key: 'k', owner: 'me', retryAfterMs: 5 }), true, 'pass waitMs'),
  row(
    new locks.LockError('locks.timeout', { key: 'k', waitMs: 5, owner: undefined, position: 2 }),
    true,
    'wait longer',
  ),
  row(new locks.LockError('locks.lost', { key: 'k', token: 7, reason: 'expired' }), true, 'Acquire again'),
  row(new locks.LockError('locks.lost', { key: 'k', token: 7, reason: 'max_hold' }), true, 'Split the work'),
  row(
    new locks.LockError('locks.store_unavailable', { store: 'redis', outcome: 'unknown', detail: 'no answer' }),
    true,
    'Check that it is up',
  ),
  row(
    new locks.LockError('locks.store_refused', { store: 'redis' }, new Error('WRONGTYPE')),
    false,
    'Check the prefix',
  ),
  row(new locks.LockError('locks.fence_rejected', { resource: 'r', token: 6, lastToken: 7 }), true, 'acquire again'),
  row(
    new locks.LockError(
      'locks.fenced_write_failed',
      { resource: 'r', command: 'HSET', applied: 1 },
      new Error('WRONGTYPE'),
    ),
    false,
    'Fix the command',
  ),
  row(new locks.LockError('locks.reentered', { key: 'k' }), false, 'pass the lease on'),
  row(
    new locks.LockError('locks.lease_headers', { header: 'lock-token', value: '"x"', expected: 'a number' }),
    false,
    'Send what leaseHeaders() returns',
  ),
  row(new locks.LockError('locks.lost', { key: 'k', token: 7, reason: 'forced' }), true, 'find out why'),
  row(
    new locks.LockError('locks.unsupported', { store: 'quorum', feature: 'mode', why: 'why' }),
    false,
    'Use a store that has it',
  ),
  row(new locks.LockError('locks.closed'), false, 'acquire nothing after close()'),
  row(
    new election.ElectionError('election.term_over', { role: 'settlement', term: 7, reason: 'lost' }),
    true,
    'stop its work',
  ),
  row(
    new election.ElectionError('election.closed', { part: 'schedule', make: 'createSchedule()' }),
    false,
    'createSchedule()',
  ),
  row(new election.ElectionError('election.job_timeout', { job: 'sweep', timeoutMs: 5 }), true, 'honour run.signal'),
  row(
    new cluster.ClusterError('cluster.store_unavailable', { store: 'redis', outcome: 'unknown', detail: 'no answer' }),
    true,
    'read the state before you go on',
  ),
  row(
    new cluster.ClusterError('cluster.store_unavailable', {
      store: 'redis',
      outcome: 'not_done',
      detail: 'not connected',
    }),
    true,
    'try again',
  ),
  row(
    new cluster.ClusterError('cluster.store_refused', { store: 'redis' }, new Error('WRONGTYPE')),
    false,
    'Check the prefix',
  ),
  row(new cluster.ClusterError('cluster.closed', { part: 'state "a"' }), false, 'use nothing of it after close()'),
  row(
    new cluster.ClusterError('cluster.member_evicted', { instance: 'a', generation: 7, reason: 'dead' }),
    false,
    'Stop its work',
  ),
  row(
    new cluster.ClusterError('cluster.member_evicted', { instance: 'a', generation: 7, reason: 'replaced' }),
    false,
    'an id of its own',
  ),
  row(
    new cluster.ClusterError('cluster.member_isolated', { instance: 'a', generation: 7, afterMs: 3_000 }),
    true,
    'until it has reconnected',
  ),
  row(
    new cluster.ClusterError('cluster.state_conflict', { state: 's', key: 'k', expected: 5, version: 7 }),
    true,
    'read it again',
  ),
  row(
    new cluster.ClusterError('cluster.data_invalid', {
      subject: 'state "s"',
      problem: '$.at is a Date: convert it first',
    }),
    false,
    'convert it',
  ),
  row(
    new cluster.ClusterError('cluster.data_too_large', { subject: '"k" of state "s"', bytes: 9, maxBytes: 8 }),
    false,
    'a reference here',
  ),
  row(
    new bus.BusError('bus.address', { address: 'orders', expected: 'fewer parts end in **' }),
    false,
    'fewer parts end in **',
  ),
  row(new bus.BusError('bus.closed', { state: 'not started' }), false, 'call start(binder) before publishing'),
  row(new bus.BusError('bus.closed', { state: 'closed' }), false, 'publish nothing after close()'),
  row(new bus.BusError('bus.not_ready', { waiting: ['a is connecting'] }), true, 'Check that the broker is up'),
  row(new bus.BusError('bus.forbidden', { event: 'e', from: 'a:b:c', to: '**' }), false, 'the authorize option'),
  row(new bus.BusError('bus.payload_too_large', { event: 'e', bytes: 2, maxBytes: 1 }), false, 'send a reference'),
  row(
    new bus.BusError('bus.schema_timeout', { subject: 'event "e"', timeoutMs: 1, option: 'handlerTimeoutMs' }),
    true,
    'raise handlerTimeoutMs',
  ),
  row(new bus.BusError('bus.handler_timeout', { event: 'e', timeoutMs: 1 }), true, 'raise handlerTimeoutMs'),
  row(new bus.BusError('bus.control_refused', { message: 'bindings of this instance: a' }), false, 'bindings of this'),
]
