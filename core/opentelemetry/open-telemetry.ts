import { createRequire } from 'node:module'
import type * as OpenTelemetryApi from '@opentelemetry/api'
import type { Attributes, Context, Meter, ObservableGauge, Span, SpanContext, Tracer } from '@opentelemetry/api'
import { toError } from '../errors.ts'
import { hasMethods, optionNames, refuseUnknown, wrongKind } from '../option-checks.ts'
import {
  errorType,
  type Instrument,
  MAX_LINKS,
  type Measure,
  type Reading,
  type SpanOptions,
  type Telemetry,
  type TelemetryAttributes,
  type TelemetrySpan,
} from '../telemetry-interface.ts'
import type { TraceContext } from '../trace-context.ts'

/** The part of a `TracerProvider` that is used. */
export interface TracerSource {
  getTracer(name: string): object
}

/** The part of a `MeterProvider` that is used. */
export interface MeterSource {
  getMeter(name: string): object
}

/** Options of `openTelemetry`: providers other than the registered ones. */
export interface OpenTelemetryOptions {
  /** @default the provider registered with the API, now or later */
  readonly tracerProvider?: TracerSource | undefined
  /** @default the provider registered with the API at this time */
  readonly meterProvider?: MeterSource | undefined
}

const NAMES = optionNames<OpenTelemetryOptions>({ tracerProvider: true, meterProvider: true })

/** Name of the tracer and of the meter. */
const SCOPE = 'concordat'

/** @throws TypeError with the name of the option */
export function openTelemetry(options: OpenTelemetryOptions = {}): Telemetry {
  refuseUnknown('openTelemetry', options, NAMES)
  const { tracerProvider, meterProvider } = options
  if (tracerProvider !== undefined && !hasMethods(tracerProvider, ['getTracer'])) {
    throw wrongKind('openTelemetry.tracerProvider', tracerProvider, 'a TracerProvider of OpenTelemetry')
  }
  if (meterProvider !== undefined && !hasMethods(meterProvider, ['getMeter'])) {
    throw wrongKind('openTelemetry.meterProvider', meterProvider, 'a MeterProvider of OpenTelemetry')
  }
  // Required at run time: without the `telemetry` option the package need not be installed.
  const api = createRequire(import.meta.url)('@opentelemetry/api') as Api
  return new ApiTelemetry(
    api,
    (tracerProvider ?? api.trace.getTracerProvider()).getTracer(SCOPE) as Tracer,
    (meterProvider ?? api.metrics.getMeterProvider()).getMeter(SCOPE) as Meter,
  )
}

type Api = typeof OpenTelemetryApi

const KINDS = { internal: 'INTERNAL', producer: 'PRODUCER', consumer: 'CONSUMER', client: 'CLIENT' } as const

/** In seconds, as the semantic conventions recommend. */
const DURATIONS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]

class ApiTelemetry implements Telemetry {
  readonly #api: Api
  readonly #tracer: Tracer
  readonly #meter: Meter

  constructor(api: Api, tracer: Tracer, meter: Meter) {
    this.#api = api
    this.#tracer = tracer
    this.#meter = meter
  }

  span(name: string, { kind, parent, attributes, links }: SpanOptions): TelemetrySpan {
    const api = this.#api
    const around = parentContext(api, parent)
    const span = this.#tracer.startSpan(
      name,
      {
        kind: api.SpanKind[KINDS[kind]],
        root: parent === 'none',
        attributes: attributes as Attributes,
        links: (links ?? []).slice(0, MAX_LINKS).map((link) => ({ context: toSpanContext(api, link) })),
      },
      around,
    )
    return new ApiSpan(api, span, api.trace.setSpan(around, span))
  }

  active(): TraceContext | undefined {
    return fromSpanContext(this.#api, this.#api.trace.getActiveSpan()?.spanContext())
  }

  counter({ name, ...options }: Instrument): Measure {
    const counter = this.#meter.createCounter(name, options)
    return (value, attributes) => counter.add(value, attributes as Attributes)
  }

  histogram({ name, ...options }: Instrument): Measure {
    const advice = options.unit === 's' ? { advice: { explicitBucketBoundaries: DURATIONS } } : {}
    const histogram = this.#meter.createHistogram(name, { ...options, ...advice })
    return (value, attributes) => histogram.record(value, attributes as Attributes)
  }

  gauges(instruments: readonly Instrument[], read: () => readonly Reading[] | Promise<readonly Reading[]>): () => void {
    const gauges = new Map<string, ObservableGauge>()
    for (const { name, ...options } of instruments) gauges.set(name, this.#meter.createObservableGauge(name, options))
    const observed = [...gauges.values()]
    const onCollect: Parameters<Meter['addBatchObservableCallback']>[0] = async (result) => {
      for (const { name, value, attributes } of await readOrNothing(read)) {
        const gauge = gauges.get(name)
        if (gauge !== undefined) result.observe(gauge, value, attributes as Attributes)
      }
    }
    this.#meter.addBatchObservableCallback(onCollect, observed)
    return () => this.#meter.removeBatchObservableCallback(onCollect, observed)
  }
}

async function readOrNothing(
  read: () => readonly Reading[] | Promise<readonly Reading[]>,
): Promise<readonly Reading[]> {
  try {
    return await read()
  } catch {
    return []
  }
}

class ApiSpan implements TelemetrySpan {
  readonly #api: Api
  readonly #span: Span
  readonly #around: Context

  constructor(api: Api, span: Span, around: Context) {
    this.#api = api
    this.#span = span
    this.#around = around
  }

  get context(): TraceContext | undefined {
    return fromSpanContext(this.#api, this.#span.spanContext())
  }

  run<T>(work: () => T): T {
    return this.#api.context.with(this.#around, work)
  }

  set(attributes: TelemetryAttributes): void {
    this.#span.setAttributes(attributes as Attributes)
  }

  event(name: string, attributes?: TelemetryAttributes): void {
    this.#span.addEvent(name, attributes as Attributes)
  }

  end(error?: unknown): void {
    if (error !== undefined) {
      const { message } = toError(error)
      this.#span.setAttribute('error.type', errorType(error))
      this.#span.recordException(toError(error))
      this.#span.setStatus({ code: this.#api.SpanStatusCode.ERROR, message })
    }
    this.#span.end()
  }
}

function parentContext(api: Api, parent: SpanOptions['parent']): Context {
  if (parent === 'active') return api.context.active()
  return parent === 'none' ? api.ROOT_CONTEXT : api.trace.setSpanContext(api.ROOT_CONTEXT, toSpanContext(api, parent))
}

function toSpanContext(api: Api, { traceId, spanId, sampled, state }: TraceContext): SpanContext {
  const traceFlags = sampled ? api.TraceFlags.SAMPLED : api.TraceFlags.NONE
  const traceState = state === undefined ? undefined : api.createTraceState(state)
  return { traceId, spanId, traceFlags, isRemote: true, ...(traceState !== undefined && { traceState }) }
}

function fromSpanContext(api: Api, span: SpanContext | undefined): TraceContext | undefined {
  if (span === undefined || !api.isSpanContextValid(span)) return undefined
  const { traceId, spanId, traceFlags, traceState } = span
  const state = traceState?.serialize()
  const sampled = (traceFlags & api.TraceFlags.SAMPLED) === api.TraceFlags.SAMPLED
  return { traceId, spanId, sampled, ...(state !== undefined && state !== '' && { state }) }
}
