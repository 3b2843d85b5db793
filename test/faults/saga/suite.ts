import { loadavg } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { serverClockLack } from '../../support/servers/index.ts'
import { type Event, nowMs, readEvents, writeEvents } from '../harness/events.ts'
import type { Arena, Episode, EpisodeReport, Played, Setting, Suite } from '../harness/suite.ts'
import { timelineOf } from '../harness/verdicts.ts'
import { Company } from './company.ts'
import { type Asked, Customers, FUNDS } from './customers.ts'
import { SAGA_FAULTS } from './faults.ts'
import { SAGA_INVARIANTS } from './invariants.ts'
import { judge } from './judge.ts'
import { BROKERS } from './place.ts'
import { ENDS_WITHIN_MS } from './settings.ts'
import { readTables, type Tables } from './tables.ts'
import { Watchman } from './watchman.ts'

export const sagaSuite: Suite = {
  name: 'saga',
  faults: SAGA_FAULTS,
  invariants: SAGA_INVARIANTS,
  mistakes: {
    'no-epoch': {
      what: 'coordinators write sagas without the check that these are still theirs',
      faults: ['stop-coordinator'],
      breaks: 'each effect once',
    },
    'no-dedupe': {
      what: 'participants do whatever they are told, however often',
      faults: ['repeats'],
      breaks: 'each effect once',
    },
  },
  // A single company for the whole run: its faults are played one by one.
  lanes: 1,
  transports: BROKERS,
  counted: {
    operations: 'sagas',
    grants: 'completed',
    accepted: 'compensated',
    refused: 'cancelled',
    unknown: 'calls cut short',
    handOverMs: 'saga p50/max ms',
  },
  lack: (faults) => (faults.some((fault) => fault.startsWith('clock-')) ? serverClockLack() : undefined),
  open: (setting) => Bank.open(setting),
}

const CANCELS = 0.15

/** An episode that is over. */
interface Past {
  readonly prefix: string
  readonly fault: string
  readonly beganAt: number
  readonly happened: string | undefined
}

class Bank implements Arena {
  readonly #setting: Setting
  readonly #company: Company
  readonly #watchman: Watchman
  readonly #asked: Asked[] = []

  private constructor(setting: Setting, company: Company) {
    this.#setting = setting
    this.#company = company
    this.#watchman = new Watchman(company.here, () => company.steppedAt)
  }

  static async open(setting: Setting): Promise<Bank> {
    return new Bank(setting, await Company.open(setting))
  }

  async play({ number, fault, random }: Episode): Promise<Played> {
    const spec = SAGA_FAULTS.find(({ name }) => name === fault)
    if (spec === undefined) throw new Error(`no fault "${fault}"`)
    const prefix = `e${number}`
    const beganAt = nowMs()
    const { signal, broken } = this.#setting
    // A cancelled saga might end before its stopped owner writes, and hide the mistake.
    const cancels = broken === undefined ? CANCELS : 0
    const underWay = (): number => this.#watchman.running
    const customers = new Customers(this.#company, random, prefix, cancels, { signal, underWay })
    this.#company.note('act', `episode ${number}: ${fault}`)
    await customers.come()
    const happened = await this.#playWhile(customers, () => spec.play(this.#company, random))
    this.#asked.push(...customers.asked)
    await this.#quiet()
    const { samples, longestMs } = this.#watchman
    this.#company.note('act', `looked ${samples} times so far, the longest without owner ${longestMs.toFixed(0)} ms`)
    const tables = await readTables(this.#company)
    const report = this.#report({ prefix, fault, beganAt, happened }, tables)
    return { judge: () => Promise.resolve(report) }
  }

  /** The customers leave when it was played, however that went. */
  async #playWhile<T>(customers: Customers, play: () => Promise<T>): Promise<T> {
    try {
      return await play()
    } finally {
      await customers.leave()
    }
  }

  async close(): Promise<void> {
    this.#watchman.leave()
    await this.#company.close()
  }

  /** Waits until every saga has ended and no message is in flight, or no saga has ended for too long. */
  async #quiet(): Promise<void> {
    let fewest = Number.POSITIVE_INFINITY
    let deadline = performance.now() + ENDS_WITHIN_MS
    while (performance.now() < deadline && !this.#setting.signal.aborted) {
      const { open, outgoing } = await this.#left()
      if (open + outgoing === 0) return
      if (open < fewest) deadline = performance.now() + ENDS_WITHIN_MS
      fewest = Math.min(fewest, open)
      await sleep(50)
    }
    if (!this.#setting.signal.aborted) await this.#company.explain()
  }

  /** Sagas that have not ended, and messages that have not left. */
  async #left(): Promise<{ readonly open: number; readonly outgoing: number }> {
    const { here, there } = this.#company
    const one = `SELECT (SELECT count(*)::int FROM concordat.saga WHERE ended_at IS NULL) AS open,
      ((SELECT count(*) FROM concordat.outbox) + (SELECT count(*) FROM debit.outbox))::int AS outgoing`
    const other = 'SELECT count(*)::int AS outgoing FROM credit.outbox'
    const unknown = { open: Number.POSITIVE_INFINITY, outgoing: 1 }
    const found = (await here.query<typeof unknown>(one).catch(() => undefined))?.rows[0] ?? unknown
    const more = (await there.query<typeof unknown>(other).catch(() => undefined))?.rows[0] ?? unknown
    return { open: found.open, outgoing: found.outgoing + more.outgoing }
  }

  #report({ prefix, fault, beganAt, happened }: Past, tables: Tables): EpisodeReport {
    const all = readEvents(this.#company.histories)
    const events = all.filter(({ at }) => at >= beganAt)
    const history = join(this.#setting.folder, `${prefix}-${fault}.jsonl`)
    const own = <T extends { readonly id: string }>(lines: readonly T[]): T[] =>
      lines.filter(({ id }) => id.startsWith(`${prefix}-`))
    writeEvents(history, events)
    const failures = all
      .filter(({ op }) => op === 'unhandled' || op === 'uncaught' || op === 'failed')
      .map(({ process, op, error }) => `${process}: ${op}: ${error}`)
    for (const { name } of this.#company.deserters()) failures.push(`${name} ended by itself`)
    const asked = [...this.#asked]
    const withoutOwner = [...this.#watchman.evidence]
    if (withoutOwner.length > 0) withoutOwner.splice(1, 0, whoStoodStill(all))
    if (this.#watchman.samples === 0) withoutOwner.push('nobody ever looked')
    const sagas = own(tables.sagas)
    const kinds = (kind: string): number => own(tables.timeline).filter((line) => line.kind === kind).length
    const counts = {
      operations: sagas.length,
      grants: sagas.filter(({ status }) => status === 'completed').length,
      accepted: sagas.filter(({ status }) => status === 'compensated').length,
      refused: kinds('operator-cancel'),
      unknown: kinds('orphaned') + kinds('timed-out'),
    }
    return {
      fault,
      history,
      timeline: timelineOf(events),
      counts,
      handOverMs: sagas.map(({ tookMs }) => tookMs),
      happened,
      verdicts: judge({ ...tables, asked, funds: FUNDS, withoutOwner, failures }),
      succeeded: {
        'transfer completed': counts.grants,
        'transfer compensated': counts.accepted,
        cancel: counts.refused,
      },
    }
  }
}

/** Lists the processes that got no CPU time, for the reader of a report on a saga left alone. */
function whoStoodStill(events: readonly Event[]): string {
  const longest = new Map<string, number>()
  for (const { process, stalledMs = 0 } of events)
    if (stalledMs > 0) longest.set(process, Math.max(stalledMs, longest.get(process) ?? 0))
  const each = [...longest].map(([name, ms]) => `${name} ${ms} ms`).join(', ')
  return `stood still themselves: ${each || 'none'}; load ${loadavg()
    .map((load) => load.toFixed(1))
    .join(', ')}`
}
