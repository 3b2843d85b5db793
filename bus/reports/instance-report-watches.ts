import type { HandlerContext } from '../../binder/bindings/handler-types.ts'
import { lastingContext } from '../../core/async-contexts.ts'
import { SECOND } from '../../core/clock.ts'
import { requireInteger } from '../../core/errors.ts'
import { optionNames, refuseUnknown } from '../../core/option-checks.ts'
import { RepeatedFailureLog } from '../../core/repeated-failure-log.ts'
import { type AddressPattern, matches, parsePattern } from '../address.ts'
import type { ReportOrder } from '../built-in-events.ts'
import type { ReportWatch, ReportWatchOptions } from '../bus.ts'
import { parseReport } from '../envelope.ts'
import type { BusContext } from '../shared-dependencies.ts'
import { decodeReport } from './instance-report.ts'
import { MIN_EVERY_MS } from './instance-reporter.ts'
import { LatestInstanceReports } from './latest-instance-reports.ts'

/** Sends `SendReports`. */
export type AskForReports = (order: ReportOrder, to: string) => Promise<unknown>

const NAMES = optionNames<ReportWatchOptions>({ to: true, everyMs: true })
const EVERY_MS = 2 * SECOND
const MAX_EVERY_MS = 60 * SECOND
/** Reports in a row that an instance which is gone has missed. */
const MISSED = 3
/** An instance that has just come is asked within this. */
const ASK_MS = 5 * SECOND

interface Watch {
  readonly instances: LatestInstanceReports
  readonly to: AddressPattern
  close(): void
}

/** Hears the reports, for each watch that is open. */
export class InstanceReportWatches {
  readonly #context: BusContext
  readonly #ask: AskForReports
  readonly #open = new Set<Watch>()
  readonly #closing = new AbortController()

  constructor(context: BusContext, ask: AskForReports) {
    this.#context = context
    this.#ask = ask
  }

  /** @throws TypeError / RangeError, `bus.address`, `bus.forbidden`, `bus.not_ready`, `bus.closed` */
  async watch(options: ReportWatchOptions = {}): Promise<ReportWatch> {
    refuseUnknown('bus.watch', options, NAMES)
    const to = parsePattern(options.to ?? '**')
    const everyMs = requireInteger('bus.watch.everyMs', options.everyMs ?? EVERY_MS, MIN_EVERY_MS, MAX_EVERY_MS)
    const { clock, connection } = this.#context
    await connection.listeningForAnswers({})
    const leaseMs = MISSED * everyMs
    const order = { everyMs, forMs: leaseMs + 2 * ASK_MS }
    await this.#ask(order, to.text)
    this.#closing.signal.throwIfAborted()
    const stop = lastingContext()(() => this.#keepAsking(order, to.text))
    const watch: Watch = {
      instances: new LatestInstanceReports(leaseMs),
      to,
      close: () => {
        this.#open.delete(watch)
        stop()
      },
    }
    this.#open.add(watch)
    const close = async (): Promise<void> => watch.close()
    return Object.freeze({
      instances: () => watch.instances.all(clock.monotonic()),
      trouble: () => connection.troubleWithAnswers,
      close,
      [Symbol.asyncDispose]: close,
    })
  }

  /** From the channel of the answers. */
  arrived(body: Uint8Array, context: HandlerContext): void {
    const { clock, guard, counters, self } = this.#context
    const open = [...this.#open]
    if (open.length === 0) return
    const report = parseReport(context)
    const now = clock.monotonic()
    // A report over the limits is not worth the check of its signature.
    const meant =
      typeof report === 'string'
        ? open
        : open.filter(({ instances, to }) => matches(to, report.from) && instances.judge(report, now) === 'taken')
    if (meant.length === 0 || (typeof report !== 'string' && report.sender === self)) return
    const admitted = guard.admit(report, body, context.id)
    if (admitted === undefined) return
    const said = decodeReport(body)
    if (typeof said === 'string') return counters.dropped(said, { messageId: context.id, claimsToBe: admitted.sender })
    for (const { instances } of meant) instances.take(admitted, said, now)
  }

  /** @param reason with which a watch that is being opened rejects */
  close(reason: Error): void {
    this.#closing.abort(reason)
    for (const watch of this.#open) watch.close()
  }

  /** @returns ends it */
  #keepAsking(order: ReportOrder, to: string): () => void {
    const { clock, logger } = this.#context
    const trouble = new RepeatedFailureLog(logger, 'bus: could not ask for reports')
    let cancel = (): void => {}
    let isOver = false
    const again = (): void => {
      cancel = clock.setTimer(ASK_MS, () => {
        const asked = this.#ask(order, to)
        void asked.then(
          () => trouble.over(),
          (error: unknown) => trouble.failed(error),
        )
        if (!isOver) again()
      })
    }
    again()
    return () => {
      isOver = true
      cancel()
    }
  }
}
