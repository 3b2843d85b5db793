import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { nowMs, readEvents, writeEvents } from '../harness/events.ts'
import type { Arena, Episode, EpisodeReport, Mistake, Played, Setting, Suite } from '../harness/suite.ts'
import { timelineOf } from '../harness/verdicts.ts'
import { type Asked, Customers, FUNDS } from './customers.ts'
import { FAULTS } from './faults.ts'
import { House } from './house.ts'
import { INVARIANTS } from './invariants.ts'
import { judge } from './judge.ts'
import { KINDS, type KindName, uses } from './kinds.ts'
import { ENDS_WITHIN_MS } from './settings.ts'
import { Strangers } from './strangers.ts'
import { readTables, type Tables } from './tables.ts'

/** Mistakes, with the kinds in which they show. */
const MISTAKES: Readonly<Record<string, Mistake & { readonly kinds: readonly KindName[] }>> = {
  'no-fence': {
    what: 'TCC participants have no barrier: they do whatever they are told, however often',
    faults: ['repeats'],
    breaks: 'no effect twice',
    kinds: ['tcc', 'code', 'mixed'],
  },
  'decision-after-phase-two': {
    what: 'confirmations leave in a transaction of their own, before the one that holds the decision',
    faults: ['kill-at-decision'],
    breaks: 'each transfer ends once',
    kinds: ['code', 'mixed'],
  },
  'restore-without-comparison': {
    what: 'undo participants put rows back whatever they are by now',
    faults: ['past-triggers'],
    breaks: 'money is constant',
    kinds: ['undo', 'code', 'mixed'],
  },
}

function suiteOf(kind: KindName): Suite {
  const faults = FAULTS.filter(({ needs }) => needs === undefined || uses(kind, needs))
  return {
    name: 'transactions',
    faults,
    invariants: INVARIANTS,
    mistakes: Object.fromEntries(Object.entries(MISTAKES).filter(([, { kinds }]) => kinds.includes(kind))),
    // The same servers for the whole run: faults are played one by one.
    lanes: 1,
    counted: {
      operations: 'transfers',
      grants: 'completed',
      accepted: 'compensated',
      refused: 'cancelled',
      unknown: 'never begun',
      handOverMs: 'transfer p50/max ms',
    },
    lack: () => undefined,
    open: (setting) => Bank.open(setting, kind),
    kinds: Object.fromEntries(Object.keys(KINDS).map((name) => [name, () => suiteOf(name as KindName)])),
  }
}

export const transactionsSuite: Suite = suiteOf('mixed')

/** An episode that is over. */
interface Past {
  readonly prefix: string
  readonly fault: string
  readonly beganAt: number
  readonly happened: string | undefined
}

class Bank implements Arena {
  readonly #setting: Setting
  readonly #house: House
  readonly #kind: KindName
  readonly #asked: Asked[] = []

  private constructor(setting: Setting, house: House, kind: KindName) {
    this.#setting = setting
    this.#house = house
    this.#kind = kind
  }

  static async open(setting: Setting, kind: KindName): Promise<Bank> {
    return new Bank(
      setting,
      await House.open(setting, { protects: uses(kind, 'undo'), prepares: uses(kind, 'xa') }),
      kind,
    )
  }

  async play({ number, fault, random }: Episode): Promise<Played> {
    const spec = FAULTS.find(({ name }) => name === fault)
    if (spec === undefined) throw new Error(`no fault "${fault}"`)
    const house = this.#house
    const prefix = `e${number}`
    const beganAt = nowMs()
    house.staff.note('act', `episode ${number}: ${fault}`)
    const customers = new Customers(house, random, prefix, {
      ways: KINDS[this.#kind].ways,
      signal: this.#setting.signal,
    })
    await customers.come()
    const strangers = new Strangers(house, random, (side) => customers.accounts(side))
    let happened: string | undefined
    try {
      await sleep(500)
      happened = await spec.play(house, random, strangers)
    } finally {
      await customers.leave()
      await strangers.leave()
    }
    if (happened !== undefined) house.staff.note('act', happened)
    this.#asked.push(...customers.asked)
    await this.#quiet()
    const report = this.#report({ prefix, fault, beganAt, happened }, await readTables(house))
    return { judge: () => Promise.resolve(report) }
  }

  close(): Promise<void> {
    return this.#house.close()
  }

  /** Waits until every transfer has ended and no message is in flight, or none has ended for too long. */
  async #quiet(): Promise<void> {
    let fewest = Number.POSITIVE_INFINITY
    let deadline = performance.now() + ENDS_WITHIN_MS
    while (performance.now() < deadline && !this.#setting.signal.aborted) {
      const open = await this.#house.open()
      const isOver = open === (await this.#house.stuck()) && (await this.#house.outgoing()) === 0
      if (isOver && open === 0) return
      if (isOver) break
      if (open < fewest) deadline = performance.now() + ENDS_WITHIN_MS
      fewest = Math.min(fewest, open)
      await sleep(50)
    }
    if (!this.#setting.signal.aborted) await this.#house.explain()
  }

  #report({ prefix, fault, beganAt, happened }: Past, tables: Tables): EpisodeReport {
    const all = readEvents(this.#house.staff.histories)
    const events = all.filter(({ at }) => at >= beganAt)
    const history = join(this.#setting.folder, `${prefix}-${fault}.jsonl`)
    writeEvents(history, events)
    const failures = all
      .filter(({ op }) => op === 'unhandled' || op === 'uncaught' || op === 'failed')
      .map(({ process, op, error }) => `${process}: ${op}: ${error}`)
    for (const { name } of this.#house.staff.deserters()) failures.push(`${name} ended by itself`)
    const sagas = tables.sagas.filter(({ id }) => id.startsWith(`${prefix}-`))
    const asked = this.#asked.filter(({ id }) => id.startsWith(`${prefix}-`))
    const counts = {
      operations: sagas.length,
      grants: sagas.filter(({ status }) => status === 'completed').length,
      accepted: sagas.filter(({ status }) => status === 'compensated').length,
      refused: sagas.filter(({ wasCancelled }) => wasCancelled).length,
      unknown: asked.length - sagas.length,
    }
    return {
      fault,
      history,
      timeline: timelineOf(events),
      counts,
      handOverMs: sagas.map(({ tookMs }) => tookMs),
      happened,
      verdicts: judge({ ...tables, asked: this.#asked, funds: FUNDS, failures }),
      succeeded: { 'transfer completed': counts.grants, 'transfer compensated': counts.accepted },
    }
  }
}
