import { expect, test } from 'vitest'
import {
  charge,
  ledgerTables,
  migrateLedger,
  openAccounts,
  refund,
} from '../../../../examples/order-payment/payments/ledger.ts'
import { folder } from '../support/command.ts'
import { useDatabase } from '../support/database.ts'

const database = useDatabase()

async function setup(accounts: Record<string, number>) {
  const { sql } = database
  const schema = database.newSchema()
  const tables = ledgerTables(schema)
  await migrateLedger(sql, schema)
  await using place = await folder()
  const file = await place.file('accounts.json', JSON.stringify(accounts))
  await openAccounts(sql, tables, file)
  await openAccounts(sql, tables, file)
  const request = (orderId: string, customer: string, amountCents: number) => ({
    orderId,
    customer,
    card: 'tok_ok',
    amountCents,
  })
  return {
    charge: (key: string, customer: string, cents: number) =>
      sql.transaction((tx) => charge(tx, tables, key, request(key, customer, cents))),
    refund: (key: string) => sql.transaction((tx) => refund(tx, tables, key)),
    balance: async (customer: string) =>
      Number(
        (
          await sql.query<{ b: string }>(`SELECT balance::text AS b FROM ${tables.account} WHERE customer = $1`, [
            customer,
          ])
        ).rows[0]?.b,
      ),
    entries: async () =>
      (
        await sql.query<{ e: string }>(
          `SELECT kind || ' ' || saga_key || ' ' || cents AS e FROM ${tables.entry} ORDER BY 1`,
        )
      ).rows.map(({ e }) => e),
  }
}

test('accounts are opened once, for any number of starts', async () => {
  const ledger = await setup({ 'c-1': 100 })
  expect(await ledger.balance('c-1')).toBe(100)
})

test('a charge takes the amount off the account and enters it', async () => {
  const ledger = await setup({ 'c-1': 100 })
  await ledger.charge('k', 'c-1', 100)
  expect(await ledger.balance('c-1')).toBe(0)
  expect(await ledger.entries()).toEqual(['charge k 100'])
})

test('an amount over the balance is refused and leaves nothing', async () => {
  const ledger = await setup({ 'c-1': 100 })
  await expect(ledger.charge('k', 'c-1', 101)).rejects.toMatchObject({ code: 'payments.declined_by_balance' })
  await expect(ledger.charge('k', 'nobody', 1)).rejects.toMatchObject({ code: 'payments.declined_by_balance' })
  expect(await ledger.balance('c-1')).toBe(100)
  expect(await ledger.entries()).toEqual([])
})

test('a customer without an account can pay nothing, not even a charge of nothing', async () => {
  const ledger = await setup({})
  await ledger.charge('k', 'nobody', 0)
  expect(await ledger.entries()).toEqual(['charge k 0'])
})

test('a second charge under one key fails rather than charging twice', async () => {
  const ledger = await setup({ 'c-1': 100 })
  await ledger.charge('k', 'c-1', 10)
  await expect(ledger.charge('k', 'c-1', 10)).rejects.toMatchObject({ code: '23505' })
  expect(await ledger.balance('c-1')).toBe(90)
})

test('a refund gives back the charge, once, and nothing without one', async () => {
  const ledger = await setup({ 'c-1': 100 })
  await ledger.refund('k')
  await ledger.charge('k', 'c-1', 30)
  await ledger.refund('k')
  await ledger.refund('k')
  expect(await ledger.balance('c-1')).toBe(100)
  expect(await ledger.entries()).toEqual(['charge k 30', 'refund k 30'])
})
