import { SendError, TransportError } from '../../binder/errors.ts'
import type { BindingStatus } from '../../binder/status.ts'
import { lastingContext } from '../../core/async-contexts.ts'
import { SECOND } from '../../core/clock.ts'
import { eventLoopBlockedMs } from '../../core/event-loop.ts'
import { newId } from '../../core/ids.ts'
import { randomId } from '../../core/random-id.ts'
import { RepeatedFailureLog } from '../../core/repeated-failure-log.ts'
import type { ReportOrder } from '../built-in-events.ts'
import { reportHeaders, signedFields } from '../envelope.ts'
import type { BusContext } from '../shared-dependencies.ts'
import { type BindingReport, encodeReport } from './instance-report.ts'

/** Shortest interval that is served to any watch. */
export const MIN_EVERY_MS = 1 * SECOND

/** Reports the state of this instance, only while a watch asks for it. */
export class InstanceReporter {
  readonly #context: BusContext
  readonly #session = randomId()
  readonly #trouble: RepeatedFailureLog
  #everyMs = Number.POSITIVE_INFINITY
  #until = Number.NEGATIVE_INFINITY
  #cancel: (() => void) | undefined
  /** Turn of the current timer: a report under way does not start a second one. */
  #turn = 0
  #cpu = { at: 0, usedMs: 0 }
  #isClosed = false

  constructor(context: BusContext) {
    this.#context = context
    this.#trouble = new RepeatedFailureLog(context.logger, 'bus: could not report what this instance does')
  }

  /** Each order stands for its time; of several that stand the fastest counts. */
  wanted({ everyMs, forMs }: ReportOrder): void {
    const now = this.#context.clock.monotonic()
    const isIdle = this.#until <= now
    if (isIdle) this.#everyMs = Number.POSITIVE_INFINITY
    const isFaster = everyMs < this.#everyMs
    this.#everyMs = Math.max(MIN_EVERY_MS, Math.min(this.#everyMs, everyMs))
    this.#until = Math.max(this.#until, now + forMs)
    if (this.#isClosed || !isFaster) return
    if (isIdle) this.#cpu = { at: now, usedMs: usedMs() }
    // Not all instances at once.
    lastingContext()(() => this.#after(Math.random() * this.#everyMs))
  }

  close(): void {
    this.#isClosed = true
    this.#stop()
  }

  #stop(): void {
    this.#turn++
    this.#cancel?.()
    this.#cancel = undefined
  }

  #after(waitMs: number): void {
    this.#stop()
    const turn = this.#turn
    this.#cancel = this.#context.clock.setTimer(waitMs, () => void this.#report(turn))
  }

  async #report(turn: number): Promise<void> {
    if (this.#context.clock.monotonic() >= this.#until) return this.#stop()
    try {
      await this.#say()
      this.#trouble.over()
    } catch (error) {
      // The look has ended and with it the queue of the one that looked: nothing is wrong.
      if (isUnheard(error)) {
        this.#until = Number.NEGATIVE_INFINITY
        return this.#stop()
      }
      this.#trouble.failed(error)
    }
    if (turn === this.#turn) this.#after(this.#everyMs)
  }

  async #say(): Promise<void> {
    const { address, self: sender, channels, connection, signer, times } = this.#context
    const body = encodeReport({
      uptimeMs: Math.round(process.uptime() * SECOND),
      memoryBytes: process.memoryUsage.rss(),
      cpu: this.#cpuSince(),
      blockedMs: eventLoopBlockedMs(),
      bindings: connection.others().map(reportOf),
    })
    const said = { sender, session: this.#session, signature: undefined }
    const [id, time] = [newId(), times.next()]
    const signature = signer.sign(signedFields({ ...said, kind: 'report', id, time, from: address }), body)
    // In the channel of the answers: a report is an answer that comes again.
    await connection.binder.send(channels.acks, body, { id, time, headers: reportHeaders({ ...said, signature }) })
  }

  #cpuSince(): number {
    const now = { at: this.#context.clock.monotonic(), usedMs: usedMs() }
    const { at, usedMs: before } = this.#cpu
    this.#cpu = now
    const share = now.at > at ? (now.usedMs - before) / (now.at - at) : 0
    return Math.min(10_000, Math.max(0, Math.round(share * 1_000) / 1_000))
  }
}

function isUnheard(error: unknown): boolean {
  return error instanceof SendError && error.cause instanceof TransportError && error.cause.kind === 'unroutable'
}

function usedMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

function reportOf(status: BindingStatus): BindingReport {
  const { name, kind, channel, group, partitions, state, circuit, runningForMs, isSlow } = status
  const { running, queued, handled, deadLettered, dropped, retried } = status
  const counters = { running, queued, handled, deadLettered, dropped, retried }
  return { name, kind, channel, group, partitions, state, circuit, runningForMs, isSlow, ...counters }
}
