/**
 * The files of docs/production/telemetry.md, as a process. `@opentelemetry/sdk-node` is 50 MB and not a dependency: a
 * module with its names stands in for it, made of the parts of the SDK that are installed here.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { writePageFiles } from './support/page-files.ts'

const SDK = `
import { context, metrics as api, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import * as metrics from '@opentelemetry/sdk-metrics'
import * as tracing from '@opentelemetry/sdk-trace-base'
export { metrics, tracing }
export class NodeSDK {
  constructor({ spanProcessors, metricReaders }) {
    this.tracer = new tracing.BasicTracerProvider({ spanProcessors })
    this.meter = new metrics.MeterProvider({ readers: metricReaders })
  }
  start() {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
    trace.setGlobalTracerProvider(this.tracer)
    api.setGlobalMeterProvider(this.meter)
  }
  async shutdown() {
    await this.tracer.shutdown()
    await this.meter.shutdown()
  }
}
`

const page = await writePageFiles('docs/production/telemetry.md', {})
afterAll(() => page.remove())

test('the set-up of the page prints the spans of one trace, and metrics at its end', { timeout: 60_000 }, async () => {
  const folder = join(page.folder, 'node_modules/@opentelemetry/sdk-node')
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'package.json'), '{ "type": "module", "exports": "./index.js" }')
  await writeFile(join(folder, 'index.js'), SDK)
  const { stdout } = await page.run('main.ts')
  const spans = [
    ...stdout.matchAll(
      /traceId: '(?<trace>\w+)',\n\s+parentSpanContext: (?:undefined|\{[^}]*?spanId: '(?<parent>\w+)'[^}]*\}),[^{}]*?name: '(?<name>[^']+)',\n\s+id: '(?<id>\w+)'/g,
    ),
  ].map(({ groups }) => groups ?? {})
  expect(new Set(spans.map((span) => span['trace'])).size).toBe(1)
  const named = (id: string | undefined): string => spans.find((span) => span['id'] === id)?.['name'] ?? 'none'
  expect(new Map(spans.map((span) => [span['name'], named(span['parent'])]))).toEqual(
    new Map([
      ['process orders.placed', 'send orders.placed'],
      ['send orders.placed', 'POST /orders'],
      ['POST /orders', 'none'],
    ]),
  )
  expect(stdout).toContain(`name: 'messaging.process.duration'`)
})
