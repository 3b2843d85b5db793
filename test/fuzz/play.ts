/** Plays a target: some thousand inputs at a time, and what must hold of each of them and after them. */
import { inspect } from 'node:util'
import fc from 'fast-check'
import { globalsNow, touched } from './globals.ts'
import { Tape, tapes } from './tape.ts'
import { Broken, isTyped, type Target } from './target.ts'

/** Result of one target. */
export interface Played {
  readonly target: string
  readonly inputs: number
  /** Inputs that were refused with a typed error. */
  readonly refused: number
  readonly tookMs: number
  /** CPU time, the making of the inputs included. */
  readonly cpuMs: number
  /** The longest call, ms. */
  readonly slowestMs: number
  /** Growth of the heap after a collection; `undefined`: not measured (`--expose-gc`). */
  readonly grownBytes: number | undefined
  readonly failure: Failure | undefined
}

/** An input for which something does not hold, made as small as could be. */
export interface Failure {
  readonly why: string
  readonly input: string
  /** Argument for `--replay`. */
  readonly replay: string
}

export interface PlayOptions {
  readonly inputs: number
  readonly seed: number
  /** `SEED:PATH` of an earlier failure. */
  readonly replay?: string | undefined
  /** False: a failing input is shown without shrinking. @default true */
  readonly shrinks?: boolean | undefined
}

/** Time limit of a batch with its shrinking. */
const MOST_BATCH_MS = 600_000
const LONGEST = 96
const BATCH = 5_000
/** No call may keep the process from everything else for longer. */
export const MOST_MS = 50
/** A machine that is shared stops a call at times: it counts if it is as slow each time. */
const AGAIN = 5
/** Kept by the compiler, by caches of regular expressions and by fast-check. */
const MOST_GROWN_BYTES = 24 * 1_024 * 1_024

export async function play(target: Target, { inputs, seed, replay, shrinks = true }: PlayOptions): Promise<Played> {
  const tally = new Tally()
  const before = globalsNow()
  const rejected: unknown[] = []
  const onRejected = (reason: unknown): void => void rejected.push(reason)
  process.on('unhandledRejection', onRejected)
  const begun = performance.now()
  const cpu = process.cpuUsage()
  let failure: Failure | undefined
  let base: number | undefined
  try {
    if (replay !== undefined) failure = await batch(target, tally, fromReplay(replay, inputs))
    else {
      for (let done = 0, n = 0; done < inputs && failure === undefined; n++) {
        const numRuns = Math.min(BATCH, inputs - done)
        const from = { seed: (seed + n * 0x9e37_79b9) | 0, numRuns, endOnFailure: !shrinks }
        failure = await batch(target, tally, from)
        await new Promise((resolve) => setImmediate(resolve))
        failure ??= afterwards(before, rejected, from)
        done += numRuns
        if (n === 0) base = heapBytes()
      }
    }
  } finally {
    process.off('unhandledRejection', onRejected)
  }
  const tookMs = performance.now() - begun
  const { user, system } = process.cpuUsage(cpu)
  const grownBytes = base === undefined ? undefined : (heapBytes() ?? 0) - base
  if (grownBytes !== undefined && grownBytes > MOST_GROWN_BYTES)
    failure ??= { why: `the heap grew by ${Math.round(grownBytes / 1_024)} KiB`, input: 'all', replay: '' }
  const { count, refused, slowestMs } = tally
  return {
    target: target.name,
    inputs: count,
    refused,
    tookMs,
    cpuMs: (user + system) / 1_000,
    slowestMs,
    grownBytes,
    failure,
  }
}

interface From {
  readonly seed: number
  readonly numRuns: number
  readonly path?: string
  readonly endOnFailure: boolean
}

function fromReplay(replay: string, numRuns: number): From {
  const [seed = '', ...path] = replay.split(':')
  return { seed: Number(seed), path: path.join(':'), numRuns, endOnFailure: true }
}

async function batch(target: Target, tally: Tally, from: From): Promise<Failure | undefined> {
  const options = { ...from, interruptAfterTimeLimit: MOST_BATCH_MS }
  const inputs = tapes(target.longest ?? LONGEST)
  const made = (numbers: readonly number[]): unknown => target.input(new Tape(numbers))
  const details =
    target.isAsync === true
      ? await fc.check(
          fc.asyncProperty(inputs, (numbers) => tally.takeAsync(target, made(numbers))),
          options,
        )
      : fc.check(
          fc.property(inputs, (numbers) => tally.take(target, made(numbers))),
          options,
        )
  if (!details.failed) return undefined
  const { errorInstance, counterexample, counterexamplePath, seed } = details
  return {
    why: whyOf(errorInstance),
    input: shown(made(counterexample?.[0] ?? [])),
    replay: `${seed}:${counterexamplePath ?? ''}`,
  }
}

function shown(input: unknown): string {
  return inspect(input, { depth: 6, maxStringLength: 300, maxArrayLength: 60, breakLength: 160 }).slice(0, 4_000)
}

function afterwards(before: ReturnType<typeof globalsNow>, rejected: unknown[], { seed }: From): Failure | undefined {
  const difference = touched(before)
  const why = difference ?? (rejected.length > 0 ? `a rejection that nobody handles: ${whyOf(rejected[0])}` : undefined)
  return why === undefined ? undefined : { why, input: 'one of the batch', replay: `${seed}:` }
}

function whyOf(error: unknown): string {
  if (error instanceof Broken) return error.message
  if (!(error instanceof Error)) return String(error)
  const stack = (error.stack ?? '')
    .split('\n')
    .filter((line) => line.trimStart().startsWith('at '))
    .slice(0, 6)
  return `untyped ${error.name}: ${error.message.slice(0, 300)}\n${stack.join('\n')}`
}

/** `undefined` without `--expose-gc`. */
function heapBytes(): number | undefined {
  const collect = (globalThis as { readonly gc?: () => void }).gc
  if (collect === undefined) return undefined
  collect()
  collect()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

/** Calls, counted and timed. */
class Tally {
  count = 0
  refused = 0
  slowestMs = 0

  take(target: Target, input: unknown): void {
    const begun = performance.now()
    try {
      target.run(input as never)
    } catch (error) {
      this.#judge(target, error)
    }
    const ms = performance.now() - begun
    this.#timed(ms)
    if (ms > MOST_MS) this.#confirm(ms, AGAIN, () => target.run(input as never))
  }

  async takeAsync(target: Target, input: unknown): Promise<void> {
    const begun = performance.now()
    try {
      await target.run(input as never)
    } catch (error) {
      this.#judge(target, error)
    }
    const ms = performance.now() - begun
    this.#timed(ms)
    let fastest = ms
    for (let n = 0; n < AGAIN && fastest > MOST_MS; n++) {
      const { user } = process.cpuUsage()
      try {
        await target.run(input as never)
      } catch {
        // Judged above.
      }
      fastest = Math.min(fastest, (process.cpuUsage().user - user) / 1_000)
    }
    if (fastest > MOST_MS) throw new Broken(`stands still for ${Math.round(fastest)} ms of CPU time, at the least`)
  }

  #timed(ms: number): void {
    this.count++
    if (ms > this.slowestMs) this.slowestMs = ms
  }

  #judge({ refuses }: Target, error: unknown): void {
    if (isTyped(error) || (error instanceof Error && refuses?.(error) === true)) this.refused++
    else throw error
  }

  #confirm(first: number, times: number, call: () => unknown): void {
    let fastest = first
    for (let n = 0; n < times && fastest > MOST_MS; n++) {
      const { user, system } = process.cpuUsage()
      const begun = performance.now()
      try {
        call()
      } catch {
        // Judged before.
      }
      const cpu = process.cpuUsage()
      fastest = Math.min(fastest, performance.now() - begun, (cpu.user + cpu.system - user - system) / 1_000)
    }
    if (fastest > MOST_MS) throw new Broken(`stands still for ${Math.round(fastest)} ms of CPU time, at the least`)
  }
}
