/** A run from the first byte of the orders to the report. */
import { createBinder } from 'concordat/binder'
import { CHANNELS } from '../contracts.ts'
import { Intake } from '../intake/intake.ts'
import { audit, missingReceipts } from './audit.ts'
import { type InputFiles, openOrders } from './files.ts'
import { faultsOf, makeReport, type Report } from './report.ts'
import type { Stage } from './stage.ts'
import { createProgress, type Progress } from './terminal.ts'

export interface RunResult {
  readonly report: Report
  /** Why it is not well; empty when it is. */
  readonly faults: readonly string[]
}

export interface RunOptions {
  readonly stage: Stage
  readonly files: InputFiles
  /** Lines of the orders file, when they could be counted. */
  readonly total: number | undefined
  /** `performance.now()` at the start. */
  readonly startedAt: number
  /** Aborts when the run shall end now. */
  readonly signal: AbortSignal
}

/** The books are closed under this name; a run that resumes asks for the same closing. */
const CLOSING = 'end-of-run'
/** Nothing ends for so long: something is broken, and the report says what is missing. */
const STALLED_MS = 180_000
const RECEIPTS_MS = 60_000

export async function run(options: RunOptions): Promise<RunResult> {
  const { stage, files, total, startedAt, signal } = options
  const { opening } = files
  const intake = new Intake({
    chunks: openOrders(files),
    opening,
    maxUnderWay: stage.maxUnderWay,
    mayAdmit: () => stage.mayAdmit(),
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
  const progress = watch(intake, stage, total, stalled)
  try {
    await Promise.race([stage.start(), rejection(ending)])
    await binder.start()
    await Promise.race([work(intake, stage, ending), stage.failed])
  } catch (error) {
    if (!stalled.signal.aborted || signal.aborted) throw error
  } finally {
    progress.stop()
    await binder.close()
  }
  const found = await audit(stage.sql, stage.schemas)
  const elapsedMs = performance.now() - startedAt
  const { invalidLines } = intake
  const report = makeReport(found, { invalidLines, restarts: stage.restarts(), elapsedMs })
  return { report, faults: [...faultsOf(report, found), ...unread(intake, report), ...stallText(stalled.signal)] }
}

/** Everything in its order: all lines ended, all kills done, books closed, receipts written. */
async function work(intake: Intake, stage: Stage, signal: AbortSignal): Promise<void> {
  await Promise.all([intake.read(signal), intake.allEnded(signal), stage.accompany(intake, signal)])
  await intake.closeBooks(CLOSING, signal)
  const deadline = performance.now() + RECEIPTS_MS
  while ((await missingReceipts(stage.sql, stage.schemas)) > 0 && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 50))
    signal.throwIfAborted()
  }
}

/** Shows progress, and notices when there is none. */
function watch(intake: Intake, stage: Stage, total: number | undefined, stalled: AbortController): Progress {
  const progress = createProgress(total)
  let ended = 0
  let movedAt = performance.now()
  const timer = setInterval(() => {
    const { counts } = intake
    const now = performance.now()
    progress.show(counts, stage.restarts())
    if (counts.ended > ended || intake.isIdle) movedAt = now
    ended = counts.ended
    if (now - movedAt > STALLED_MS) stalled.abort(new Error('stalled'))
  }, 100)
  return {
    show: () => {},
    stop: () => {
      clearInterval(timer)
      progress.show(intake.counts, stage.restarts())
      progress.stop()
    },
  }
}

/** Lines that were read and are in no table. */
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
