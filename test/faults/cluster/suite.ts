import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { MINUTE } from 'concordat/core'
import { EventLog, nowMs, readEvents, writeEvents } from '../harness/events.ts'
import type { Arena, Episode, EpisodeReport, Played, Setting, Suite } from '../harness/suite.ts'
import { timelineOf } from '../harness/verdicts.ts'
import { NODE_FAULTS } from './faults-nodes.ts'
import { SPECIAL_FAULTS } from './faults-special.ts'
import { TAKEN_FAULTS } from './faults-taken.ts'
import { CLUSTER_INVARIANTS } from './invariants.ts'
import type { Line } from './line.ts'
import { TransfersLine } from './line-transfers.ts'
import { WorkersLine } from './line-workers.ts'
import { CLUSTER_MISTAKES } from './mistakes.ts'
import { TRANSPORTS, type TransportName } from './place.ts'
import { Pulse } from './pulse.ts'
import { Scene } from './scene.ts'
import { EPISODE_MS, MOVES_WITHIN_MS, START_MS } from './settings.ts'

const FAULTS = [...NODE_FAULTS, ...SPECIAL_FAULTS, ...TAKEN_FAULTS]
/** Number of times that a line must move before a fault is played. */
const MOVES = 5

export const clusterSuite: Suite = {
  name: 'cluster',
  faults: FAULTS,
  invariants: CLUSTER_INVARIANTS,
  mistakes: CLUSTER_MISTAKES,
  // A single scene for the whole run: its faults are played one by one.
  lanes: 1,
  transports: TRANSPORTS,
  transportsInTurn: true,
  minutes: (faults, transport = 'rabbitmq') =>
    (START_MS + faults.length * EPISODE_MS[transport as TransportName]) / MINUTE,
  counted: {
    operations: 'done',
    grants: 'messages',
    accepted: 'transfers',
    refused: 'guarded writes',
    unknown: 'unsure',
    handOverMs: 'standstill p50/max ms',
  },
  lack: () => undefined,
  open: (setting) => ClusterArena.open(setting),
}

interface Watched {
  readonly line: Line
  readonly pulse: Pulse
}

class ClusterArena implements Arena {
  readonly #setting: Setting
  readonly #scene: Scene
  readonly #watched: readonly Watched[]
  readonly #log: EventLog
  readonly #history: string

  private constructor(setting: Setting, scene: Scene, lines: readonly Line[]) {
    this.#setting = setting
    this.#scene = scene
    this.#watched = lines.map((line) => ({ line, pulse: new Pulse(line.progress) }))
    this.#history = join(setting.folder, 'scene.jsonl')
    this.#log = new EventLog(this.#history, 'scene', () => {})
  }

  static async open(setting: Setting): Promise<ClusterArena> {
    for (const name of ['messages', 'locks', 'transfers']) mkdirSync(join(setting.folder, name))
    const scene = await Scene.open(setting)
    const lines: Line[] = []
    try {
      const { place } = scene
      const { broker } = place
      if (broker === undefined) lines.push(await WorkersLine.open('locks', place, setting))
      else {
        lines.push(await WorkersLine.open('messages', place, setting))
        lines.push(await TransfersLine.open(place.postgresUrl, broker, setting))
      }
      return new ClusterArena(setting, scene, lines)
    } catch (error) {
      await Promise.all(lines.map((line) => line.close()))
      await scene.close()
      throw error
    }
  }

  async play({ number, fault, random }: Episode): Promise<Played> {
    const spec = FAULTS.find(({ name }) => name === fault)
    if (spec === undefined) throw new Error(`no fault "${fault}"`)
    const note = (op: 'act' | 'fault' | 'healed', text: string): void => this.#log.note(op, { text })
    const beganAt = nowMs()
    note('act', `episode ${number}: ${fault}`)
    const before = await this.#counts()
    await Promise.all(this.#watched.map(({ line }) => line.begin(`e${number}`, random)))
    const absent = await this.#untilMoving(beganAt)
    await this.#scene.ensemble.whole()
    const from = nowMs()
    const happened = await spec.play(this.#scene, { random, note })
    note('act', happened ?? 'nothing shows that it happened')
    const healedAt = nowMs()
    absent.push(...(await this.#untilMoving(healedAt)))
    const to = nowMs()
    const standstillsMs = Object.fromEntries(
      this.#watched.map(({ line, pulse }) => [line.name, pulse.standstill(from, to)]),
    )
    const left = await Promise.all(this.#watched.map(({ line }) => line.end()))
    absent.push(...left.filter((line) => line !== undefined))
    if (spec.movesKeys === true) for (const { line } of this.#watched) await line.keysMoved?.(`e${number}`)
    const report = await this.#report({ number, fault, beganAt, happened, absent, standstillsMs, before })
    return { judge: () => Promise.resolve(report) }
  }

  async close(): Promise<void> {
    for (const { pulse } of this.#watched) pulse.stop()
    await Promise.all(this.#watched.map(({ line }) => line.close()))
    await this.#scene.close()
    this.#log.close()
  }

  /** @returns who does not */
  async #untilMoving(since: number): Promise<string[]> {
    const stuck = await Promise.all(
      this.#watched.map(async ({ line, pulse }) => {
        const deadline = performance.now() + MOVES_WITHIN_MS
        while (pulse.movesSince(since) < MOVES && !this.#setting.signal.aborted) {
          if (performance.now() > deadline) return `${line.name}: no move within ${MOVES_WITHIN_MS} ms`
          await sleep(20)
        }
        return undefined
      }),
    )
    return stuck.filter((line) => line !== undefined)
  }

  async #counts(): Promise<Readonly<Record<string, number>>> {
    const counts = this.#watched.map(async ({ line }) => [line.name, await line.progress()] as const)
    return Object.fromEntries(await Promise.all(counts))
  }

  async #report(past: Past): Promise<EpisodeReport> {
    const { number, fault, beganAt, happened, absent, standstillsMs, before } = past
    const all = readEvents([this.#history, ...this.#watched.flatMap(({ line }) => line.histories)])
    const events = all.filter(({ at }) => at >= beganAt)
    const history = join(this.#setting.folder, `e${number}-${fault}.jsonl`)
    writeEvents(history, events)
    const verdicts = (await Promise.all(this.#watched.map(({ line }) => line.judge(readEvents(line.histories))))).flat()
    const after = await this.#counts()
    const done = (name: string): number => (after[name] ?? 0) - (before[name] ?? 0)
    const moved = this.#watched.map(({ line }) => [line.name, done(line.name)] as const)
    return {
      fault,
      history,
      timeline: timelineOf(events),
      counts: {
        operations: moved.reduce((sum, [, count]) => sum + count, 0),
        grants: done('messages'),
        accepted: done('transfers'),
        refused: done('locks'),
        unknown: events.filter(({ type }) => type === 'info').length,
      },
      handOverMs: Object.values(standstillsMs),
      standstillsMs,
      happened,
      verdicts: [...verdicts, { invariant: 'all come back', holds: absent.length === 0, evidence: absent }],
      succeeded: Object.fromEntries(moved),
    }
  }
}

interface Past {
  readonly number: number
  readonly fault: string
  readonly beganAt: number
  readonly happened: string | undefined
  readonly absent: readonly string[]
  readonly standstillsMs: Readonly<Record<string, number>>
  /** Count of each line before the fault. */
  readonly before: Readonly<Record<string, number>>
}
