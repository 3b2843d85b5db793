/** The payments service: charges and refunds as a saga participant, and the settlement job on its elected leader. */
import { createBinder } from 'concordat/binder'
import { createElection, type Election } from 'concordat/election'
import { createFence } from 'concordat/locks'
import { migrateParticipant, participant, Refusal, sagaReplies } from 'concordat/saga'
import { keepBoardLine } from '../board.ts'
import { booksClosed, type Charge, DECLINED_BY_BANK, paymentCommands } from '../contracts.ts'
import { closeAll, outboxOf, PATIENT, type RunningService, relayOf, type ServiceEnvironment } from '../service.ts'
import { standInBank } from './bank.ts'
import { creditKey, creditLease, underCreditLock } from './credit-lock.ts'
import { charge, ledgerTables, migrateLedger, openAccounts, refund } from './ledger.ts'
import { closingRequests, lead, type SettlementParts } from './settlement.ts'
import { paymentsBus } from './switch.ts'

export async function startPayments(environment: ServiceEnvironment): Promise<RunningService> {
  const { sql, schema, transport, logger, instance, openingFile } = environment
  const outbox = outboxOf(environment, 'payments')
  const fence = createFence({ sql, schema })
  const parts: SettlementParts = { sql, tables: ledgerTables(schema), outbox, fence, instance, logger }
  await migrateLedger(sql, schema)
  await migrateParticipant(sql, schema)
  await outbox.migrate()
  await fence.migrate()
  if (openingFile !== undefined) await openAccounts(sql, parts.tables, openingFile)
  const events = paymentsBus(environment)
  const binder = createBinder({
    service: 'payments',
    transport,
    bindings: [
      underCreditLock(chargeCommands(environment, parts), environment, (payload) => (payload as Charge).customer),
      closingRequests(parts),
      ...events.bus.bindings,
    ],
    sends: [sagaReplies('orders'), booksClosed, ...events.bus.channels],
    instance,
    logger,
  })
  const relay = relayOf(environment, outbox, binder)
  const settlement = electSettlement(environment, parts)
  await binder.start()
  await events.start(binder)
  await relay.start()
  settlement.start()
  const line = keepBoardLine(environment, binder)
  return { close: () => closeAll([binder, events, relay, settlement, line]) }
}

function chargeCommands({ sql, schema }: ServiceEnvironment, { outbox, tables, fence }: SettlementParts) {
  const bank = standInBank()
  return participant(
    paymentCommands,
    { ...PATIENT, group: 'payments', concurrency: 16, sql, schema, outbox },
    {
      invoke: async (request, { tx, key }) => {
        const { customer, card, amountCents } = request
        const lease = creditLease()
        lease.assertValid()
        const answer = await bank.authorize({ key, customer, card, amountCents })
        if (answer === 'declined') throw new Refusal(DECLINED_BY_BANK, `the bank declined the card of order ${key}`)
        await fence.check(tx, creditKey(customer), lease.token)
        await charge(tx, tables, key, request)
      },
      compensate: (_request, { tx, key }) => refund(tx, tables, key),
    },
  )
}

/** One instance of payments leads at a time; its term is the token that the ledger checks. */
function electSettlement({ locks, instance, leaseMs, logger }: ServiceEnvironment, parts: SettlementParts): Election {
  return createElection({
    locks,
    role: 'settlement',
    instance,
    ttlMs: leaseMs,
    onGranted: ({ term, signal }) => lead(parts, term, signal),
    logger,
  })
}
