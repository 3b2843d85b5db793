/** Runs the orders, from the first byte of the file to the report. */
import { createBinder } from 'concordat/binder'
import { BoardView } from '../board.ts'
import { CHANNELS } from '../contracts.ts'
import { Intake } from '../intake/intake.ts'
import { Operator, type PaymentsPause, switchOn } from '../operator/operator.ts'
import { audit, missingReceipts } from './audit.ts'
import { type InputFiles, openOrders } from './files.ts'
import { faultsOf, makeReport, type Report } from './report.ts'
import type { Stage } from './stage.ts'
import { createProgress, type Progress } from './terminal.ts'

export interface RunResult {
  readonly report: Report
  /** Faults in words; empty for a correct run. */
  readonly faults: readonly string[]
}

export interface RunOptions {
  readonly stage: Stage
  readonly files: InputFiles
  /** Number of lines of the orders file; `undefined` when they cannot be counted first. */
  readonly total: number | undefined
  /** `performance.now()` at the start. */
  readonly startedAt: number
  /** Ends the run when aborted. */
  readonly signal: AbortSignal
  /** Number of admitted orders at which the operator pauses the payments; `undefined`: never. */
  readonly pausePaymentsAt: number | undefined
}

/** Name of the closing. A resumed run asks for the same closing. */
const CLOSING = 'end-of-run'
/** Time without an ended order after which the run stops and reports what is missing. */
const STALLED_MS = 180_000
const RECEIPTS_MS = 60_000

export async function run(options: RunOptions): Promise<RunResult> {
  const { stage, files, total, startedAt, signal, pausePaymentsAt } = options
  const { opening } = files
  const progress = createProgress(total)
  const say = (line: string): void => progress.say(line)
  const operator = pausePaymentsAt === undefined ? undefined : new Operator(pausePaymentsAt, stage, say)
  const intake = new Intake({
    chunks: openOrders(files),
    opening,
    maxUnderWay: stage.maxUnderWay,
    mayAdmit: () => Math.min(stage.mayAdmit(), operator?.mayAdmit() ?? Number.POSITIVE_INFINITY),
  })
  const stalled = new AbortController()
  const ending = AbortSignal.any([signal, stalled.signal])
  const binder = createBinder({
    service: 'intake',
    transport: stage.transport,
    bindings: intake.bindings,
    sends: CHANNELS,
    logger: stage.logger,
  })
  const stopWatching = watch(intake, stage, progress, stalled)
  let pausedPayments: PaymentsPause | undefined
  try {
    await switchOn(stage)
    await Promise.race([stage.start(), rejection(ending)])
    await binder.start()
    const beside = async (): Promise<void> => void (pausedPayments = await operator?.work(intake, ending))
    await Promise.race([work(intake, stage, beside, ending), stage.failed])
  } catch (error) {
    if (!stalled.signal.aborted || signal.aborted) throw error
  } finally {
    await stopWatching()
    await operator?.close()
    await binder.close()
  }
  const found = await audit(stage.sql, stage.schemas)
  const elapsedMs = performance.now() - startedAt
  const { invalidLines } = intake
  const report = makeReport(found, { invalidLines, restarts: stage.restarts(), pausedPayments, elapsedMs })
  return { report, faults: [...faultsOf(report, found), ...unread(intake, report), ...stallText(stalled.signal)] }
}

/** Waits in turn: all lines ended, all kills and the operator done; then books closed; then receipts written. */
async function work(intake: Intake, stage: Stage, beside: () => Promise<void>, signal: AbortSignal): Promise<void> {
  await Promise.all([intake.read(signal), intake.allEnded(signal), stage.accompany(intake, signal), beside()])
  await intake.closeBooks(CLOSING, signal)
  const deadline = performance.now() + RECEIPTS_MS
  while ((await missingReceipts(stage.sql, stage.schemas)) > 0 && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 50))
    signal.throwIfAborted()
  }
}

/** Shows progress, and aborts `stalled` when there is none. @returns function that stops watching */
function watch(intake: Intake, stage: Stage, progress: Progress, stalled: AbortController): () => Promise<void> {
  const board = new BoardView(stage.cluster)
  const show = (): void => progress.show(intake.counts, stage.restarts(), board.lines('payments'))
  let ended = 0
  let movedAt = performance.now()
  const timer = setInterval(() => {
    const { counts } = intake
    const now = performance.now()
    show()
    if (counts.ended > ended || intake.isIdle) movedAt = now
    ended = counts.ended
    if (now - movedAt > STALLED_MS) stalled.abort(new Error('stalled'))
  }, 100)
  return async () => {
    clearInterval(timer)
    show()
    progress.stop()
    await board.close()
  }
}

/** Reports lines that were read and are in no table. */
function unread(intake: Intake, report: Report): readonly string[] {
  const missing = intake.counts.read - report.orders.read
  return missing > 0 ? [`${missing} lines of this run are in no table`] : []
}

function stallText(signal: AbortSignal): readonly string[] {
  return signal.aborted ? [`nothing ended for ${STALLED_MS / 1_000} s: run with --log-level info to see why`] : []
}

function rejection(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason as Error)
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
  })
}
