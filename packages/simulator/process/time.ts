/** The time as code of a world sees it. */
import type { MeasureOptions, PerformanceMeasure } from 'node:perf_hooks'
import { BEGINS_AT, type Surroundings, surroundingsHere } from '../current-process.ts'
import { type Restore, replace, replaceGetter } from './replace.ts'

export function replacedTime(): Restore[] {
  return [...replacedDate(), ...replacedPerformance(), ...replacedUptime(), ...replacedFormats(), ...replacedTemporal()]
}

const nowOf = (here: Surroundings): number => BEGINS_AT + Math.floor(here.elapsedMs())

function replacedDate(): Restore[] {
  const RealDate = Date
  const realNow = Date.now.bind(Date)
  const now = (): number => {
    const here = surroundingsHere()
    return here === undefined ? realNow() : nowOf(here)
  }
  const VirtualDate = new Proxy(RealDate, {
    construct: (target, args: [], newTarget) =>
      Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget) as object,
    apply: () => new RealDate(now()).toString(),
    get: (target, name, receiver) => (name === 'now' ? now : (Reflect.get(target, name, receiver) as unknown)),
  })
  return [replace(globalThis, 'Date', VirtualDate), replace(RealDate.prototype, 'constructor', VirtualDate)]
}

function replacedPerformance(): Restore[] {
  const real = {
    now: performance.now.bind(performance),
    mark: performance.mark.bind(performance),
    measure: performance.measure.bind(performance),
    timeOrigin: performance.timeOrigin,
  }
  const mark: typeof performance.mark = (name, options) => {
    const here = surroundingsHere()
    return real.mark(name, here === undefined ? options : { startTime: here.elapsedMs(), ...options })
  }
  const measure = (name: string, from?: string | MeasureOptions, to?: string): PerformanceMeasure => {
    const here = surroundingsHere()
    if (here === undefined || to !== undefined) return real.measure(name, from as string, to)
    const options = typeof from === 'object' ? from : from === undefined ? {} : { start: from }
    const isOpen = options.end === undefined && options.duration === undefined
    return real.measure(name, isOpen ? { ...options, end: here.elapsedMs() } : options)
  }
  return [
    replace(performance, 'now', () => surroundingsHere()?.elapsedMs() ?? real.now()),
    replace(performance, 'mark', mark),
    replace(performance, 'measure', measure),
    replaceGetter(performance, 'timeOrigin', () => (surroundingsHere() === undefined ? real.timeOrigin : BEGINS_AT)),
  ]
}

function replacedUptime(): Restore[] {
  const { hrtime } = process
  const uptime = process.uptime.bind(process)
  const nanosOf = (here: Surroundings): bigint => BigInt(Math.round(here.elapsedMs() * 1e6))
  const pair = (since?: [number, number]): [number, number] => {
    const here = surroundingsHere()
    if (here === undefined) return hrtime(since)
    const [seconds, nanos] = since ?? [0, 0]
    const left = nanosOf(here) - BigInt(seconds) * 1_000_000_000n - BigInt(nanos)
    const whole = left / 1_000_000_000n
    return [Number(whole), Number(left - whole * 1_000_000_000n)]
  }
  const bigint = (): bigint => {
    const here = surroundingsHere()
    return here === undefined ? hrtime.bigint() : nanosOf(here)
  }
  return [
    replace(process, 'hrtime', Object.assign(pair, { bigint })),
    replace(process, 'uptime', () => {
      const here = surroundingsHere()
      return here === undefined ? uptime() : here.elapsedMs() / 1_000
    }),
  ]
}

type Time = number | Date | undefined
interface Formats {
  readonly format: { get(this: unknown): (date: Time) => string }
  readonly formatToParts: { value(this: unknown, date: Time): Intl.DateTimeFormatPart[] }
}

/** Without a date they use the current one. */
function replacedFormats(): Restore[] {
  const { prototype } = Intl.DateTimeFormat
  const real = Object.getOwnPropertyDescriptors(prototype) as unknown as Formats
  return [
    replaceGetter(prototype, 'format', function () {
      const format = real.format.get.call(this)
      return surroundingsHere() === undefined ? format : (date: Time = Date.now()) => format(date)
    }),
    replace(prototype, 'formatToParts', function (this: unknown, date: Time = Date.now()) {
      return real.formatToParts.value.call(this, date)
    }),
  ]
}

/** The members of `Temporal` that are used here; older releases of Node do not have it. */
interface Instant {
  toZonedDateTimeISO(
    timeZone: string,
  ): Readonly<Record<'toPlainDateTime' | 'toPlainDate' | 'toPlainTime', () => unknown>>
}
interface Temporal {
  readonly Instant: { fromEpochMilliseconds(ms: number): Instant }
  readonly Now: Readonly<Record<string, (timeZone?: string) => unknown>>
}

function replacedTemporal(): Restore[] {
  const { Temporal } = globalThis as { readonly Temporal?: Temporal }
  if (Temporal === undefined) return []
  const { Now } = Temporal
  const instantOf = (here: Surroundings): Instant => Temporal.Instant.fromEpochMilliseconds(nowOf(here))
  const zoned = (here: Surroundings, zone?: string) =>
    instantOf(here).toZonedDateTimeISO(zone ?? Intl.DateTimeFormat().resolvedOptions().timeZone)
  const answers: Readonly<Record<string, (here: Surroundings, zone?: string) => unknown>> = {
    instant: instantOf,
    zonedDateTimeISO: zoned,
    plainDateTimeISO: (here, zone) => zoned(here, zone).toPlainDateTime(),
    plainDateISO: (here, zone) => zoned(here, zone).toPlainDate(),
    plainTimeISO: (here, zone) => zoned(here, zone).toPlainTime(),
  }
  return Object.entries(answers).map(([name, answer]) => {
    const real = Now[name]?.bind(Now)
    return replace(Now, name, (zone?: string) => {
      const here = surroundingsHere()
      return here === undefined ? real?.(zone) : answer(here, zone)
    })
  })
}
