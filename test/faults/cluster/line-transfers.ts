import { join } from 'node:path'
import type { Event } from '../harness/events.ts'
import type { Random } from '../harness/random.ts'
import type { InvariantVerdict, Setting } from '../harness/suite.ts'
// oxlint-disable-next-line no-restricted-imports -- the bank of the other suite, not the package's folder
import { Company } from '../saga/company.ts'
// oxlint-disable-next-line no-restricted-imports -- the bank of the other suite, not the package's folder
import { type Asked, Customers, FUNDS } from '../saga/customers.ts'
// oxlint-disable-next-line no-restricted-imports -- the bank of the other suite, not the package's folder
import { judge } from '../saga/judge.ts'
// oxlint-disable-next-line no-restricted-imports -- the bank of the other suite, not the package's folder
import { readTables } from '../saga/tables.ts'
import type { Line } from './line.ts'
import type { BrokerAddress } from './place.ts'
import { untilQuiet } from './quiet.ts'
import { QUIET } from './settings.ts'

const COORDINATORS = 2
const PARTICIPANTS = 1
const CANCELS = 0.1
const LOOKS_EVERY_MS = 200

/** Money that moves from one database to another by sagas: the bank of the suite `saga`, on servers that fail over. */
export class TransfersLine implements Line {
  readonly name = 'transfers'
  readonly #setting: Setting
  readonly #company: Company
  readonly #asked: Asked[] = []
  #customers: Customers | undefined
  #underWay = 0
  #looking: NodeJS.Timeout | undefined

  private constructor(company: Company, setting: Setting) {
    this.#company = company
    this.#setting = setting
  }

  static async open(postgresUrl: string, address: BrokerAddress, setting: Setting): Promise<TransfersLine> {
    const there = new URL(postgresUrl)
    there.pathname = '/there'
    const own = { ...setting, folder: join(setting.folder, 'transfers') }
    const place = { here: postgresUrl, there: there.href, broker: { kind: 'cluster', address } } as const
    return new TransfersLine(
      await Company.at({ place, coordinators: COORDINATORS, participants: PARTICIPANTS }, own),
      own,
    )
  }

  readonly progress = async (): Promise<number> => {
    const ended = 'SELECT count(*)::int AS n FROM concordat.saga WHERE ended_at IS NOT NULL'
    return (await this.#company.here.query<{ n: number }>(ended)).rows[0]?.n ?? 0
  }

  get histories(): readonly string[] {
    return this.#company.histories
  }

  async begin(prefix: string, random: Random): Promise<void> {
    const underWay = (): number => this.#underWay
    this.#looking = setInterval(() => void this.#look(), LOOKS_EVERY_MS)
    this.#customers = new Customers(this.#company, random, prefix, CANCELS, { signal: this.#setting.signal, underWay })
    await this.#customers.come()
  }

  async end(): Promise<string | undefined> {
    clearInterval(this.#looking)
    await this.#customers?.leave()
    this.#asked.push(...(this.#customers?.asked ?? []))
    const left = await untilQuiet(() => this.#left(), { ...QUIET, signal: this.#setting.signal })
    if (left === 0) return undefined
    await this.#company.explain()
    return `${left} sagas or messages of theirs had no end, and none came to one for ${QUIET.stillMs} ms`
  }

  async judge(events: readonly Event[]): Promise<readonly InvariantVerdict[]> {
    const failures = events
      .filter(({ op }) => op === 'unhandled' || op === 'uncaught' || op === 'failed')
      .map(({ process, op, error }) => `${process}: ${op}: ${error}`)
    for (const { name } of this.#company.deserters()) failures.push(`${name} ended by itself`)
    const tables = await readTables(this.#company)
    const verdicts = judge({ ...tables, asked: this.#asked, funds: FUNDS, withoutOwner: [], failures })
    // The standstill shows how long the lock can have had no owner.
    return verdicts.filter(({ invariant }) => invariant !== 'never without owner')
  }

  async close(): Promise<void> {
    clearInterval(this.#looking)
    await this.#company.close()
  }

  async #look(): Promise<void> {
    const open = "SELECT count(*)::int AS n FROM concordat.saga WHERE status IN ('running', 'compensating')"
    const found = await this.#company.here.query<{ n: number }>(open).catch(() => undefined)
    this.#underWay = found?.rows[0]?.n ?? this.#underWay
  }

  async #left(): Promise<number> {
    const { here, there } = this.#company
    const one = `SELECT ((SELECT count(*) FROM concordat.saga WHERE ended_at IS NULL) +
      (SELECT count(*) FROM concordat.outbox) + (SELECT count(*) FROM debit.outbox))::int AS n`
    const found = await Promise.all([
      here.query<{ n: number }>(one),
      there.query<{ n: number }>('SELECT count(*)::int AS n FROM credit.outbox'),
    ]).catch(() => [])
    if (found.length === 0) return Number.POSITIVE_INFINITY
    return found.reduce((sum, { rows }) => sum + (rows[0]?.n ?? 1), 0)
  }
}
