/**
 * The dashboard and the alert rules of the package: valid Prometheus queries for metrics that a service really emits.
 */
import { readFileSync } from 'node:fs'
import { PGlite } from '@electric-sql/pglite'
import { PrometheusExporter, PrometheusSerializer } from '@opentelemetry/exporter-prometheus'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { parser } from '@prometheus-io/lezer-promql'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { createBus, defineEvent } from 'concordat/bus'
import { openTelemetry } from 'concordat/core/opentelemetry'
import { pgliteClient } from 'concordat/core/pglite'
import type { Transport } from 'concordat/extension'
import { memoryBroker, memoryLocks, memoryStateStore, memoryTransport } from 'concordat/memory'
import { defineSaga } from 'concordat/saga'
import { createService } from 'concordat/service'
import { expect, onTestFinished, test } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { until } from '../support/until.ts'

interface Rules {
  readonly groups: readonly { readonly rules: readonly Rule[] }[]
}

interface Rule {
  readonly alert: string
  readonly expr: string
  readonly labels: { readonly severity: string }
  readonly annotations: { readonly summary: string; readonly description: string }
}

interface Dashboard {
  readonly uid: string
  readonly schemaVersion: number
  readonly templating: { readonly list: readonly { readonly type: string }[] }
  readonly panels: readonly {
    readonly id: number
    readonly type: string
    readonly title: string
    readonly datasource?: object
    readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
    readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[]
  }[]
}

const RULES = (parse(readFileSync('docs/monitoring/alerts.yml', 'utf8')) as Rules).groups.flatMap(({ rules }) => rules)
const BOARD = JSON.parse(readFileSync('docs/monitoring/dashboard.json', 'utf8')) as Dashboard
const PANELS = BOARD.panels
const TARGETS = PANELS.flatMap(({ title, targets = [] }) => targets.map((target) => ({ title, ...target })))

/** A metric that a query asks for, with the labels that it uses of it. */
interface Asked {
  readonly where: string
  readonly metric: string
  readonly labels: ReadonlySet<string>
}

/** @throws when it is no query */
function readQuery(where: string, text: string): readonly Asked[] {
  // Grafana fills these in.
  const query = text.replaceAll('$__rate_interval', '5m')
  const metrics: string[] = []
  const labels = new Set<string>()
  parser.parse(query).iterate({
    enter({ type, from, to }) {
      const word = query.slice(from, to)
      if (type.isError) throw new Error(`${where}: no query at ${from}: ${query}`)
      if (type.name === 'Identifier') metrics.push(word)
      if (type.name === 'LabelName') labels.add(word)
    },
  })
  return metrics.map((metric) => ({ where, metric, labels }))
}

const LABEL = /\{\{ ?\$?(?:labels\.)?(\w+)[^}]*\}\}/g
/** The metric that Prometheus adds, and names that are not labels of ours. */
/** Whether a target answers its scrapes: a metric of Prometheus itself. */
const OF_PROMETHEUS = 'up'
const GIVEN = new Set(['job', 'instance', 'le', 'value'])

const labelsIn = (text: string): readonly string[] => Array.from(text.matchAll(LABEL), ([, label = '']) => label)

/** Transport with a group that does not continue at its position, as on Kafka after retention overtook it. */
function displacing(transport: Transport): Transport {
  const subscribe: Transport['subscribe'] = async (spec, receiver) => {
    const subscription = await transport.subscribe(spec, receiver)
    receiver.displaced?.({ reason: 'retention removed them', skipped: 1, repeated: 0, isLoss: true })
    return subscription
  }
  return new Proxy(transport, {
    get: (target, name) => {
      if (name === 'subscribe') return subscribe
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

/** Scrape of a service in which every part has something to report: the labels by metric, and the text. */
async function scrape(): Promise<{ readonly labels: ReadonlyMap<string, ReadonlySet<string>>; readonly text: string }> {
  const reader = new PrometheusExporter({ preventServerStart: true })
  const telemetry = openTelemetry({ meterProvider: new MeterProvider({ readers: [reader] }) })
  const database = await PGlite.create()
  const orders = defineChannel('orders', { payload: z.object({ bad: z.boolean() }) })
  const Ping = defineEvent('ping', { payload: z.object({}) })
  const fails = defineSaga('fails', { version: 1, input: z.object({}) })
    .step('book', {
      invoke: () => 1,
      compensate: () => Promise.reject(new Error('no')),
      compensationRetry: { maxAttempts: 1 },
    })
    .step('pay', { invoke: () => Promise.reject(new Error('no')), compensate: 'none', retry: { maxAttempts: 1 } })
  const works = defineSaga('works', { version: 1, input: z.object({}) }).step('pay', { pivot: true, invoke: () => 1 })
  const hangs = defineSaga('hangs', { version: 1, input: z.object({}) }).step('wait', {
    invoke: () => new Promise(() => {}),
    compensate: 'none',
    timeoutMs: 10,
    retry: { maxAttempts: 1 },
  })
  const broker = memoryBroker()
  const store = memoryStateStore()
  const sql = pgliteClient(database)
  const before = createService({ name: 'shop', sql, transport: memoryTransport(), sagas: [fails], bindings: [] })
  const locks = memoryLocks({ telemetry })
  const circuitBreaker = { failures: 5, pauseMs: 1_000 }
  const shop = createService({
    name: 'shop',
    sql,
    transport: displacing(memoryTransport({ broker })),
    locks,
    sagas: [works, fails, hangs],
    bindings: [
      sink(orders, { group: 'stock', maxAttempts: 1, circuitBreaker }, ({ bad }) => {
        if (bad) throw new Error('no')
      }),
    ],
    sends: [orders],
    leads: { settlement: ({ signal }) => new Promise((resolve) => signal.addEventListener('abort', () => resolve())) },
    cluster: { store },
    bus: ({ service, instance, logger }) => createBus({ service, instance, logger, telemetry, secret: 'x'.repeat(32) }),
    telemetry,
  })
  const stranger = createBus({ service: 'stranger' })
  const { bindings, channels } = stranger
  const outside = createBinder({
    service: 'stranger',
    transport: memoryTransport({ broker }),
    bindings,
    sends: channels,
  })
  onTestFinished(async () => {
    await stranger.close()
    await Promise.all([outside.close(), shop.close()])
    await Promise.all([locks.close(), store.close()])
    await database.close()
  })
  // The gauges of open sagas may be half a minute old: this one exists before the first reading.
  await before.start()
  await (await before.run(fails, { id: '1', input: {} })).outcome()
  await before.close()
  await shop.start()
  await outside.start()
  await stranger.start(outside)
  await stranger.publish(Ping, {}, { to: '**' })
  await shop.bus?.publish(Ping, {}, { to: '**', ack: true })
  await shop.send(orders, { bad: false })
  await shop.send(orders, { bad: true })
  await shop.transaction(async (tx) => void (await tx.send(orders, { bad: false })))
  await (await shop.run(works, { id: '1', input: {} })).outcome()
  await (await shop.run(hangs, { id: '1', input: {} })).outcome()
  const lease = await locks.acquire('k')
  await locks.forceRelease('k', { by: 'ada', reason: 'why' })
  await until('it is lost', () => lease.state === 'lost')
  const read = async (): Promise<string> =>
    new PrometheusSerializer().serialize((await reader.collect()).resourceMetrics)
  let text = ''
  await until(
    'all had something to tell',
    async () => {
      text = await read()
      return ['concordat_bus_dropped_total', 'outcome="dead-lettered"', 'status="stuck"', 'outbox_relayed_total'].every(
        (sign) => text.includes(sign),
      )
    },
    60_000,
  )
  const labels = new Map<string, Set<string>>()
  for (const [, metric = '', inside = ''] of text.matchAll(/^(\w+)\{(.*)\} \S+$/gm)) {
    const known = labels.get(metric) ?? new Set()
    for (const [, label = ''] of inside.matchAll(/(\w+)="/g)) known.add(label)
    labels.set(metric, known)
  }
  return { labels, text }
}

test('every query uses metrics and labels that a service emits', { timeout: 120_000 }, async () => {
  const { labels } = await scrape()
  const asked = [
    ...RULES.flatMap(({ alert, expr }) => readQuery(alert, expr)),
    ...TARGETS.flatMap(({ title, expr }) => readQuery(title, expr)),
  ]
  expect(asked.length).toBeGreaterThan(30)
  const wrong = asked.flatMap(({ where, metric, labels: used }) => {
    if (metric === OF_PROMETHEUS) return []
    const known = labels.get(metric)
    if (known === undefined) return [`${where}: no metric ${metric}`]
    return [...used]
      .filter((label) => !GIVEN.has(label) && !known.has(label))
      .map((label) => `${where}: ${metric} has no ${label}`)
  })
  expect(wrong).toEqual([])
})

test('the dashboard is valid for Grafana: a choice of source, panels with an id and a place of their own', () => {
  const { uid, schemaVersion, templating, panels } = BOARD
  expect(uid).toMatch(/^[\w-]{1,40}$/)
  expect(schemaVersion).toBeGreaterThanOrEqual(36)
  expect(templating.list.find(({ type }) => type === 'datasource')).toMatchObject({
    name: 'datasource',
    query: 'prometheus',
  })
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
  for (const { type, title, datasource, targets } of panels) {
    expect(['row', 'stat', 'timeseries', 'table', 'text'], title).toContain(type)
    if (type === 'row') continue
    expect(datasource, title).toEqual({ type: 'prometheus', uid: '${datasource}' })
    expect(targets?.length, title).toBeGreaterThan(0)
  }
  const taken = new Map<string, string>()
  for (const { title, gridPos } of panels)
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        expect(x, title).toBeLessThan(24)
        expect(taken.get(`${x} ${y}`), `${title} lies over`).toBeUndefined()
        taken.set(`${x} ${y}`, title)
      }
})

test('the text of an alert, and the comment beside it, agree with its query', () => {
  const wrong = [
    ...RULES.map(({ alert, expr, annotations: { summary, description } }) => ({
      where: alert,
      expr,
      said: `${summary} ${description}`,
    })),
    ...TARGETS.map(({ title, expr, legendFormat }) => ({ where: title, expr, said: legendFormat })),
  ].flatMap(({ where, expr, said }) =>
    labelsIn(said)
      .filter((label) => !GIVEN.has(label) && !expr.includes(label))
      .map((label) => `${where}: ${label}`),
  )
  expect(wrong).toEqual([])
})

test('every alert has a line on the page, and its remedy names existing commands', () => {
  const page = readFileSync('docs/production/monitoring.md', 'utf8')
  const listed = Array.from(page.matchAll(/^\| `(Concordat\w+)` \|/gm), ([, name]) => name)
  expect(listed).toEqual(RULES.map(({ alert }) => alert))
  const help = readFileSync('docs/production/operating.md', 'utf8')
  const commands = RULES.flatMap(({ annotations: { description } }) =>
    Array.from(description.matchAll(/npx concordat ([a-z]+(?: [a-z]+)?)/g), ([, command = '']) => command),
  )
  expect(commands.length).toBeGreaterThan(5)
  expect(commands.filter((command) => !help.includes(`concordat ${command}`))).toEqual([])
})
