/** The real OpenTelemetry SDK, with everything kept in memory. */
import { context } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import type { Telemetry } from 'concordat/core'
import { openTelemetry } from 'concordat/core/opentelemetry'

export interface Point {
  readonly value: number
  readonly attributes: Readonly<Record<string, unknown>>
}

export interface Recording {
  readonly telemetry: Telemetry
  readonly provider: BasicTracerProvider
  /** Ended so far, oldest first. */
  spans(): readonly ReadableSpan[]
  /** Spans of this name. */
  named(name: string): readonly ReadableSpan[]
  /** The points of a metric, of a histogram their counts. */
  metric(name: string): Promise<readonly Point[]>
}

/** The context manager is the process's, which test files share: the first one stays, and changes nothing without spans. */
export function record(): Recording {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  const exporter = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  const metrics = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter: metrics, exportIntervalMillis: 1_000_000 })
  const meterProvider = new MeterProvider({ readers: [reader] })
  const spans = () => exporter.getFinishedSpans()
  return {
    telemetry: openTelemetry({ tracerProvider: provider, meterProvider }),
    provider,
    spans,
    named: (name) => spans().filter((span) => span.name === name),
    metric: async (name) => {
      metrics.reset()
      await meterProvider.forceFlush()
      const all = metrics.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics))
      const found = all.filter(({ descriptor }) => descriptor.name === name)
      return found.flatMap(({ dataPoints }) =>
        dataPoints.map(({ value, attributes }) => ({
          value: typeof value === 'number' ? value : value.count,
          attributes,
        })),
      )
    },
  }
}

export function traceIdOf(span: ReadableSpan | undefined): string | undefined {
  return span?.spanContext().traceId
}

/** Whether `parent` is the parent of `child`. */
export function isChildOf(child: ReadableSpan | undefined, parent: ReadableSpan | undefined): boolean {
  return child !== undefined && parent !== undefined && child.parentSpanContext?.spanId === parent.spanContext().spanId
}
