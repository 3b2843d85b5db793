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
  readonly code: string
  readonly retryable: boolean
  /** Part of the message with the remedy, or the place to look. */
  readonly remedy: string
}

const row = (error: ConcordatError, code: string, retryable: boolean, remedy: string): Row => ({
  error,
  code,
  retryable,
  remedy,
})
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
  row(new core.CodecError('application/json', 'not JSON: unexpected end'), 'core.codec', false, 'not JSON'),
  row(
    new core.SchemaError('payload of "a"', [{ path: 'n', message: 'expected 1' }]),
    'core.schema',
    false,
    'n: expected 1',
  ),
  row(
    new core.ReadsDeclarationsOnly('orders.start'),
    'core.reads_declarations',
    false,
    'export them from a module that starts nothing',
  ),
  row(new core.SqlStatementLost(), 'core.sql_statement_lost', true, 'preparedStatements'),
  row(new core.SqlCannotPrepare('off: restart the server'), 'core.sql_cannot_prepare', false, 'restart the server'),
  row(new core.SqlCommitError(), 'core.sql_commit', false, 'Let it propagate'),
  row(new core.SqlTablesMissing('s', 'outbox.migrate()'), 'core.tables_missing', false, 'call outbox.migrate() first'),
  row(
    new core.SqlMigrationBlocked('s', 'saga', ['prepared transaction concordat:x since 9 s']),
    'core.migration_blocked',
    true,
    'prepared transaction concordat:x since 9 s. Let these end',
  ),
  row(
    new core.SqlVersionMismatch('s', { name: 'outbox', migrations: [], call: 'outbox.migrate()' }, 7),
    'core.sql_version',
    false,
    'run the release that migrated them',
  ),
  row(
    new core.SqlSequenceBehind({
      table: 'outbox',
      column: 'seq',
      sequence: 's.outbox_seq_seq',
      last: 4n,
      highest: 9n,
      remedy: "SELECT setval('s.outbox_seq_seq', 9)",
    }),
    'core.sequence_behind',
    false,
    "SELECT setval('s.outbox_seq_seq', 9)",
  ),
  row(new core.SqlTransactionMissing(), 'core.sql_transaction_missing', false, "client.query('BEGIN')"),
  row(new core.SqlRowCountWrong(1, 0), 'core.sql_row_count', false, 'an adapter returns how many rows'),
  row(new core.SqlOwnTransaction(), 'core.sql_own_transaction', false, 'use the `tx` that was handed in'),
  row(new core.SqlTransactionControl(), 'core.sql_transaction_control', false, 'throw to roll back'),
  row(new core.SqlTransactionEnded(), 'core.sql_transaction_ended', false, 'await every query inside its callback'),
  row(
    new operate.OperatorLettersOutOfReach({ channel: 'orders', group: 'stock' }, 1_000),
    'operate.letters_out_of_reach',
    false,
    'redrive or drop some first',
  ),
  row(
    new operator.OperatorOutcomeNotKept(
      { action: 'release', target: 'sku:1' },
      { outcome: 'ended shop-1', result: undefined, cause: new Error('cut') },
    ),
    'operate.outcome_not_kept',
    false,
    'do not do it again',
  ),
  row(
    new operate.OperatorStoreMissing('no locks: give createOperator `locks`'),
    'operate.store_missing',
    false,
    'give createOperator',
  ),
  row(
    new operate.OperatorTransportMissing('without a transport: give createOperator `transport`'),
    'operate.transport_missing',
    false,
    'give createOperator',
  ),
  row(away, 'binder.transport', true, 'is it up?'),
  row(tooLarge, 'binder.transport', false, 'send a reference'),
  row(new binder.SendError('a', 'id-1', away), 'binder.send', true, 'is it up?'),
  row(new binder.SendError('a', 'id-1', tooLarge), 'binder.send', false, 'send a reference'),
  row(new binder.BinderClosed('closed'), 'binder.closed', false, 'send nothing after close()'),
  row(new binder.BinderClosed('not started'), 'binder.closed', false, 'await start() of the binder, or of its service'),
  row(
    new binder.BinderNotReady([{ name: 'a.g', state: 'connecting' }]),
    'binder.not_ready',
    true,
    'Check that the broker is up',
  ),
  row(new binder.RedriveStalled('a.g.dlq', 9, { sent: 1, kept: 2 }), 'binder.redrive_stalled', true, 'run it again'),
  row(
    new binder.RedrivePositionUnknown('a.g.dlq', 'redrive.a.g.dlq', { id: 'r1', position: 'offset 9' }, 'offset 3'),
    'binder.redrive_position_unknown',
    false,
    '--reset-offsets --to-offset N --execute',
  ),
  row(new binder.RedriveWouldRepeat('a', 'g', 'settles'), 'binder.redrive_would_repeat', false, "(to: 'group')"),
  row(
    new binder.CannotSettleIn('sink("orders").settlesIn', 'orders', 'channel', 'postgres'),
    'binder.cannot_settle_in',
    false,
    'transactional: true',
  ),
  row(
    new binder.BatchOutcomesInvalid('a.g', '2 outcomes', 3),
    'binder.batch_outcomes',
    false,
    'Promise.allSettled(items.map(handle))',
  ),
  row(
    new pipelines.WindowInvalid('orders', 'box', { path: 'key', value: 7 }, 'a text'),
    'pipeline.window_invalid',
    false,
    'expected a text',
  ),
  row(new tokens.TokenRefused('login'), 'tokens.refused', false, 'issue a new one'),
  row(new tokens.TokenStoreUnavailable('redis', 'unknown', 'gone'), 'tokens.store_unavailable', true, 'Check that'),
  row(new tokens.TokensClosed(), 'tokens.closed', false, 'make others with createTokens'),
  row(new tokens.TokenStoreRefused('redis', new Error('no')), 'tokens.store_refused', false, 'Check the prefix'),
  row(new binder.NoRoute('orders', 'odd', ['new']), 'binder.no_route', false, 'add it, or a `default` handler'),
  row(new binder.HandlerTimeout('orders.stock', 100), 'binder.handler_timeout', true, 'hand context.signal to'),
  row(
    new binder.PayloadVersionError('orders', 4, 'this declaration knows 3 and older: deploy the newer one'),
    'binder.payload_version',
    false,
    'deploy the newer one',
  ),
  row(new binder.RequestTimeout('prices.asked', 100), 'binder.request_timeout', true, 'ask again with the same id'),
  row(new binder.RequestRefused('no_stock', 'no kiwis left'), 'binder.request_refused', false, 'no kiwis left'),
  row(
    new binder.RequestFailed('prices.asked', 'prices', {
      reason: 'no_stock',
      message: 'no kiwis left',
      retryable: false,
    }),
    'binder.request_failed',
    false,
    'answered a request on "prices.asked" with no_stock: no kiwis left',
  ),
  row(new binder.TerminalError('the order is unknown'), 'binder.terminal', false, 'the order is unknown'),
  row(
    new outbox.OutboxPayloadTooLarge({ destination: 'a', messageId: 'id-1', bytes: 2, maxBytes: 1 }),
    'outbox.too_large',
    false,
    'send a reference instead',
  ),
  row(new outbox.OutboxTextInvalid('key', 'a'), 'outbox.text', false, 'encode it'),
  row(new outbox.OutboxOwned('concordat', 'billing', 'shop'), 'outbox.owner', false, 'a schema of its own'),
  row(
    new outbox.OutboxAmbiguous('o-1', [
      { destination: 'invoices', source: 'shop' },
      { destination: 'mails', source: 'shop' },
    ]),
    'outbox.ambiguous',
    false,
    'Say which',
  ),
  row(
    new outbox.OutboxPartitionsMismatch('s', 4, 8),
    'outbox.partitions',
    false,
    'set createOutbox({ partitions: 8 })',
  ),
  row(
    new outbox.OutboxPartitionsMismatch('s', 4, undefined),
    'outbox.partitions',
    false,
    'call outbox.migrate() first',
  ),
  row(new outbox.OutboxClosed('inbox', 'createInbox()'), 'outbox.closed', false, 'make another with createInbox()'),
  row(new outbox.InboxWithoutOutbox('g'), 'outbox.inbox_without_outbox', false, 'createInbox({ sql, outbox })'),
  row(
    new outbox.TransactionWithoutOutbox('orders.confirmed', 'createCoordinator({ outbox })'),
    'outbox.transaction_without_outbox',
    false,
    'give what createOutbox returns to createCoordinator({ outbox })',
  ),
  row(new saga.Refusal('payments.declined', 'over the limit'), 'payments.declined', false, 'over the limit'),
  row(new saga.SagaConflict('s', 'id-1'), 'saga.conflict', false, 'use another id'),
  row(
    new saga.SagaInputUnreadable([{ saga: 'place-order', version: 1, count: 2, ids: ['a', 'b'] }]),
    'saga.input_unreadable',
    false,
    'Give defineSaga an `upcast`',
  ),
  row(
    new saga.SagaResultUnreadable({ name: 's', id: 'id-1', version: 1 }, 'charge', new Error('no total')),
    'saga.result_unreadable',
    false,
    'raise `version`',
  ),
  row(new saga.SagaGraphChanged('s', 1), 'saga.graph_changed', false, 'raise `version`'),
  row(new saga.SagaNotFound('s', 'id-1'), 'saga.not_found', false, 'it was never started here'),
  row(
    new saga.SagaActionRefused('s', 'id-1', 'retry', 'it is completed'),
    'saga.action_refused',
    false,
    'Look at its timeline',
  ),
  row(new saga.SagaPayloadTooLarge('input of s/1', 9, 5), 'saga.payload_too_large', false, 'raise maxPayloadBytes'),
  row(
    new sagaSharding.SagaOtherShard('s', 'id-1', 'b', 'a'),
    'saga.other_shard',
    false,
    'the database that shardOf() names',
  ),
  row(new sagaSharding.SagaShardsChanged('the layout is another'), 'saga.shards_changed', true, 'start it again'),
  row(new sagaSharding.SagaShardsMismatch('call migrate()'), 'saga.shards_mismatch', false, 'call migrate()'),
  row(new saga.SagaPending('s', 'id-1', 5), 'saga.pending', true, 'ask again'),
  row(new saga.CoordinatorClosed(), 'saga.closed', false, 'start nothing after close()'),
  row(new sagaGlobal.BranchRefused('1.debit', 'saga.closed_account', 'no'), 'saga.closed_account', false, 'no'),
  row(
    new sagaGlobal.BranchFailed('1.debit', 'x', 'no disk'),
    'saga.branch_failed',
    false,
    'All of the transaction is cancelled',
  ),
  row(new sagaGlobal.GlobalTransactionEnded('t', '1', 'x'), 'saga.transaction_ended', false, 'takes no more calls'),
  row(new sagaGlobal.TransactionHeaderInvalid('is x'), 'saga.transaction_header', false, 'pass on what'),
  row(
    new sagaGlobal.TransactionNotHere({ service: 'a', name: 't' }, 'b'),
    'saga.transaction_not_here',
    false,
    'run a coordinator of',
  ),
  row(
    new sagaGlobal.GlobalTransactionCancelled('t', '1', { code: 'x', message: 'no disk' }),
    'saga.transaction_cancelled',
    false,
    'was cancelled with x',
  ),
  row(
    new sagaGlobal.GlobalTransactionStuck('t', '1', { code: 'x', message: 'no disk' }),
    'saga.transaction_stuck',
    false,
    'An operator has to act',
  ),
  row(
    new sagaUndo.UndoTableRefused('protect', 'public.t', 'has no primary key: add one'),
    'saga.undo_table',
    false,
    'add one',
  ),
  row(
    new sagaUndo.UndoNotProtected('s/id-1/a', [{ table: 'public.t', why: 'unprotected' }]),
    'saga.undo_not_protected',
    false,
    'call undo.protect',
  ),
  row(
    new sagaUndo.UndoConflict('s/id-1/a', [
      { table: 'public.t', key: { id: '1' }, column: 'n', expected: '1', found: '2' },
    ]),
    'saga.undo_conflict',
    false,
    'n: expected 1, found 2. Put the rows right, or call undo.settle(); then retry',
  ),
  row(new sagaUndo.UndoBranchNotFound('s/id-1/a'), 'saga.undo_not_found', false, 'undo.open() lists what there is'),
  row(new sagaMysql.MysqlUnanswered('XA COMMIT', 5), 'saga.mysql_unanswered', true, 'raise `answerMs`'),
  row(new saga.SagaStepRole('s/id-1/a', {}), 'saga.step_role', true, 'call RESET ROLE before it returns'),
  row(new saga.StepTimeout('s/id-1/a', 5), 'saga.step_timeout', true, 'honour context.signal'),
  row(
    new service.ServiceNotReady('shop', 'running', [{ name: 'binder', detail: 'no broker' }]),
    'service.not_ready',
    true,
    'binder (no broker). Check that its servers are up',
  ),
  row(new embedded.DataDirectoryForeign('/data', 'PG_VERSION'), 'embedded.foreign', false, 'an empty folder'),
  row(new embedded.DataDirectoryInUse('/data', 42), 'embedded.in_use', true, 'wait for its end'),
  row(new embedded.DataDirectoryInUse('/data', 0), 'embedded.in_use', true, 'another dataDir'),
  row(new embedded.DataDirectoryInUse('/data', 1, 'web-1'), 'embedded.in_use', true, 'process 1 on host web-1: wait'),
  row(new embedded.DataDirectoryLost('/data'), 'embedded.lost', true, 'start it again'),
  row(
    new embedded.DataDirectoryUnusable('/data', 'EACCES', 'give embedded() another dataDir'),
    'embedded.unusable',
    false,
    'another dataDir',
  ),
  row(new service.ServiceClosed('shop'), 'service.closed', false, 'make another with createService'),
  row(new saga.OwnershipLost('s', 'id-1'), 'saga.ownership_lost', true, 'taken over by another coordinator'),
  row(new locks.LockBusy('k', 'me', 5), 'locks.busy', true, 'pass waitMs'),
  row(new locks.LockTimeout('k', 5, undefined, 2), 'locks.timeout', true, 'wait longer'),
  row(new locks.LockLost('k', 7, 'expired'), 'locks.lost', true, 'Acquire again'),
  row(new locks.LockLost('k', 7, 'max_hold'), 'locks.lost', true, 'Split the work'),
  row(
    new locks.LockStoreUnavailable('redis', 'unknown', 'no answer'),
    'locks.store_unavailable',
    true,
    'Check that it is up',
  ),
  row(new locks.LockStoreRefused('redis', new Error('WRONGTYPE')), 'locks.store_refused', false, 'Check the prefix'),
  row(new locks.FenceRejected('r', 6, 7), 'locks.fence_rejected', true, 'acquire again'),
  row(
    new locks.FencedWriteFailed('r', 'HSET', 1, new Error('WRONGTYPE')),
    'locks.fenced_write_failed',
    false,
    'Fix the command',
  ),
  row(new locks.LockReentered('k'), 'locks.reentered', false, 'pass the lease on'),
  row(
    new locks.LeaseHeadersInvalid('lock-token', '"x"', 'a number'),
    'locks.lease_headers',
    false,
    'Send what leaseHeaders() returns',
  ),
  row(new locks.LockLost('k', 7, 'forced'), 'locks.lost', true, 'find out why'),
  row(new locks.LockUnsupported('quorum', 'mode', 'why'), 'locks.unsupported', false, 'Use a store that has it'),
  row(new locks.LocksClosed(), 'locks.closed', false, 'acquire nothing after close()'),
  row(new election.TermOver('settlement', 7, 'lost'), 'election.term_over', true, 'stop its work'),
  row(new election.ElectionClosed('schedule', 'createSchedule()'), 'election.closed', false, 'createSchedule()'),
  row(new election.JobTimeout('sweep', 5), 'election.job_timeout', true, 'honour run.signal'),
  row(
    new cluster.ClusterStoreUnavailable('redis', 'unknown', 'no answer'),
    'cluster.store_unavailable',
    true,
    'read the state before you go on',
  ),
  row(
    new cluster.ClusterStoreUnavailable('redis', 'not_done', 'not connected'),
    'cluster.store_unavailable',
    true,
    'try again',
  ),
  row(
    new cluster.ClusterStoreRefused('redis', new Error('WRONGTYPE')),
    'cluster.store_refused',
    false,
    'Check the prefix',
  ),
  row(new cluster.ClusterClosed('state "a"'), 'cluster.closed', false, 'use nothing of it after close()'),
  row(new cluster.MemberEvicted('a', 7, 'dead'), 'cluster.member_evicted', false, 'Stop its work'),
  row(new cluster.MemberEvicted('a', 7, 'replaced'), 'cluster.member_evicted', false, 'an id of its own'),
  row(new cluster.MemberIsolated('a', 7, 3_000), 'cluster.member_isolated', true, 'until it has reconnected'),
  row(new cluster.StateConflict('s', 'k', 5, 7), 'cluster.state_conflict', true, 'read it again'),
  row(
    new cluster.ClusterDataInvalid('state "s"', '$.at is a Date: convert it first'),
    'cluster.data_invalid',
    false,
    'convert it',
  ),
  row(new cluster.ClusterDataTooLarge('"k" of state "s"', 9, 8), 'cluster.data_too_large', false, 'a reference here'),
  row(new bus.AddressInvalid('orders', 'fewer parts end in **'), 'bus.address', false, 'fewer parts end in **'),
  row(new bus.BusClosed('not started'), 'bus.closed', false, 'call start(binder) before publishing'),
  row(new bus.BusClosed('closed'), 'bus.closed', false, 'publish nothing after close()'),
  row(new bus.BusNotReady(['a is connecting']), 'bus.not_ready', true, 'Check that the broker is up'),
  row(new bus.BusForbidden('e', 'a:b:c', '**'), 'bus.forbidden', false, 'the authorize option'),
  row(new bus.BusPayloadTooLarge('e', 2, 1), 'bus.payload_too_large', false, 'send a reference'),
  row(
    new bus.BusSchemaTimeout('event "e"', 1, 'handlerTimeoutMs'),
    'bus.schema_timeout',
    true,
    'raise handlerTimeoutMs',
  ),
  row(new bus.BusHandlerTimeout('e', 1), 'bus.handler_timeout', true, 'raise handlerTimeoutMs'),
  row(new bus.BusControlRefused('bindings of this instance: a'), 'bus.control_refused', false, 'bindings of this'),
]

/** Thrown by users, with a code of theirs. */
