/** The payments service: charges and refunds as a saga participant, and the settlement job on its elected leader. */
import { createFence } from 'concordat/locks'
import { participant, Refusal } from 'concordat/saga'
import type { Service } from 'concordat/service'
import { booksClosed, DECLINED_BY_BANK, paymentCommands } from '../contracts.ts'
import { type ServiceEnvironment } from '../environment.ts'
import { PATIENT, type RunningService, serviceIn, start } from '../service.ts'
import { standInBank } from './bank.ts'
import { creditKey, creditLease, creditLock } from './credit-lock.ts'
import { charge, ledgerTables, migrateLedger, openAccounts, refund } from './ledger.ts'
import { closingRequests, lead, type SettlementParts } from './settlement.ts'
import { paymentsSwitch } from './switch.ts'

export async function startPayments(environment: ServiceEnvironment): Promise<RunningService> {
  const { sql, schema, locks, logger, instance, openingFile } = environment
  const fence = createFence({ sql, schema })
  const tables = ledgerTables(schema)
  await migrateLedger(sql, schema)
  await fence.migrate()
  if (openingFile !== undefined) await openAccounts(sql, tables, openingFile)
  const parts: SettlementParts = { sql, service: () => payments, tables, fence, instance, logger }
  const position = paymentsSwitch(environment)
  const payments: Service = serviceIn(environment, {
    name: 'payments',
    bindings: [chargeCommands(environment, parts), closingRequests(parts)],
    sends: [booksClosed],
    bus: () => position.bus,
    locks,
    // At most one instance leads; its term is the token that the ledger checks.
    leads: { settlement: ({ term, signal }) => lead(parts, term, signal) },
  })
  position.follow(payments.binder)
  return start(payments, environment, [position])
}

function chargeCommands(environment: ServiceEnvironment, { tables, fence }: SettlementParts) {
  const bank = standInBank()
  return participant(
    paymentCommands,
    { ...PATIENT, group: 'payments', concurrency: 16, middleware: [creditLock(environment)] },
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
