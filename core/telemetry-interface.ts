/**
 * The interface that this package needs from a tracing and metrics library. `concordat/core/opentelemetry` implements it; without
 * a `telemetry` option, nothing here is called and no header is added.
 */
import { said } from './errors.ts'
import type { Logger } from './logger.ts'
import { hasMethods, wrongKind } from './option-checks.ts'
import { fieldOf, readable } from './thrown-values.ts'
import type { TraceContext } from './trace-context.ts'

/** Attributes with values of one type each; `undefined` is left out. */
export type TelemetryAttributes = Readonly<Record<string, string | number | boolean | undefined>>

/** Initial values of a span. */
export interface SpanOptions {
  /** Its kind in OpenTelemetry. */
  readonly kind: 'internal' | 'producer' | 'consumer' | 'client'
  /** `active`: the span around the calling code. `none`: a new trace. */
  readonly parent: TraceContext | 'active' | 'none'
  /** Attributes set at the start. @default none */
  readonly attributes?: TelemetryAttributes | undefined
  /** Other spans that led here, at most `MAX_LINKS`. */
  readonly links?: readonly TraceContext[] | undefined
}

/** Maximum number that the SDKs keep. */
export const MAX_LINKS = 128

/** A started span. */
export interface TelemetrySpan {
  /** Context for headers; `undefined` without a tracer. */
  readonly context: TraceContext | undefined
  /** Calls `work` with this span as the active one, also after each `await` in it. */
  run<T>(work: () => T): T
  set(attributes: TelemetryAttributes): void
  event(name: string, attributes?: TelemetryAttributes): void
  /** Ends the span, as failed if an error is passed. A span that is never ended is never exported. */
  end(error?: unknown): void
}

/** A metric: a counter, a histogram or a gauge. */
export interface Instrument {
  readonly name: string
  /** UCUM: `s`, `{message}`. */
  readonly unit: string
  readonly description: string
}

/** The value of a gauge when it is read. */
export interface Reading {
  /** Name of the instrument. */
  readonly name: string
  readonly value: number
  readonly attributes?: TelemetryAttributes | undefined
}

/** Adds to a counter, or records into a histogram. Attributes of metrics contain no ids, so that their number is bounded. */
export type Measure = (value: number, attributes?: TelemetryAttributes) => void

/** Synchronous throughout; nothing here throws. */
export interface Telemetry {
  span(name: string, options: SpanOptions): TelemetrySpan
  /** The span around the calling code. */
  active(): TraceContext | undefined
  counter(instrument: Instrument): Measure
  histogram(instrument: Instrument): Measure
  /**
   * Registers values that are read at each collection. If `read` fails, nothing is reported.
   * @returns a function that unregisters them
   */
  gauges(instruments: readonly Instrument[], read: () => readonly Reading[] | Promise<readonly Reading[]>): () => void
}

/** @throws TypeError with the path */
export function checkTelemetry(path: string, telemetry: unknown): Telemetry | undefined {
  if (telemetry === undefined) return undefined
  if (hasMethods(telemetry, ['span', 'active', 'counter', 'histogram', 'gauges'])) return telemetry as Telemetry
  throw wrongKind(path, telemetry, 'what openTelemetry() of concordat/core/opentelemetry returns')
}

const MAX_TYPE = 100
/** A code with spaces is a sentence, and may contain ids. */
const CODE = /^[\w.:/-]+$/
/** Maximum number of different values of `error.type` in one process; further ones are reported as `other`. */
const MOST_TYPES = 200
const types = new Set<string>()

/** `error.type`: a stable code if there is one, otherwise the class. Never the message; at most 200 values per process. */
export function errorType(error: unknown): string {
  const type = typeOf(error)
  if (!types.has(type)) {
    if (types.size >= MOST_TYPES) return 'other'
    types.add(type)
  }
  return type
}

function typeOf(thrown: unknown): string {
  const error = readable(thrown)
  if (typeof error !== 'object' || error === null) return typeof error
  const code = fieldOf(error, 'code')
  if (typeof code === 'string' && CODE.test(code)) return code.slice(0, MAX_TYPE)
  return error instanceof Error ? said(error, 'name').slice(0, MAX_TYPE) : 'object'
}

/** The fields that connect a log line to a span, named as in OpenTelemetry's own log bridges. */
export function traceFields(context: TraceContext | undefined): Readonly<Record<string, string>> {
  return context === undefined ? {} : { trace_id: context.traceId, span_id: context.spanId }
}

/** The same logger with the active span's ids on every line. */
export function withActiveSpan(logger: Logger, telemetry: Telemetry | undefined): Logger {
  if (telemetry === undefined) return logger
  const around = (fields: Readonly<Record<string, unknown>>) => ({ ...traceFields(telemetry.active()), ...fields })
  return {
    debug: (fields, message) => logger.debug(around(fields), message),
    info: (fields, message) => logger.info(around(fields), message),
    warn: (fields, message) => logger.warn(around(fields), message),
    error: (fields, message) => logger.error(around(fields), message),
  }
}
