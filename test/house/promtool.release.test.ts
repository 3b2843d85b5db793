/**
 * Checks the alert rules with Prometheus' own `promtool`, on numbers. Its path is in PROMTOOL, or it is in the PATH
 * (Debian: the package `prometheus`); without it these tests are skipped: they run before a release, and
 * `monitoring.test.ts` parses the queries.
 */
import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'

const RULES = resolve('docs/monitoring/alerts.yml')
const places = (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, 'promtool'))
const promtool = [process.env['PROMTOOL'], ...places].find(
  (path) => path !== undefined && path !== '' && existsSync(path),
)
const title = 'promtool and the alert rules'
const describeIt =
  promtool === undefined
    ? (tests: () => void) =>
        describe.skip(`${title} (no promtool: apt-get install prometheus, or its path in PROMTOOL)`, tests)
    : (tests: () => void) => describe(title, tests)

interface Case {
  readonly alert: string
  /** Series with their values, one a minute. */
  readonly series: Readonly<Record<string, string>>
  readonly at: string
  /** The labels that it fires with; none: it is silent. */
  readonly fires?: Readonly<Record<string, string>>
}

const group = '{messaging_destination_name="orders",messaging_consumer_group_name="stock"'
const GROUP = { messaging_destination_name: 'orders', messaging_consumer_group_name: 'stock' }
const lag = `concordat_binding_lag${group},instance="a"}`
const consumed = `messaging_client_consumed_messages_total${group},instance="a"}`
const leads = (instance: string): string =>
  `concordat_election_leader{concordat_election_role="nightly",instance="${instance}"}`
const lost = 'concordat_lock_lost_total{concordat_lock_mode="exclusive",concordat_reason="expired"}'

const stuck = 'concordat_saga_open{concordat_saga_name="buy",concordat_saga_status="stuck"}'
const oldest = 'concordat_outbox_oldest_age{concordat_outbox_schema="shop"}'
const displaced = `concordat_binding_displaced_total${group},concordat_outcome="lost"}`
const dropped = (reason: string): string => `concordat_bus_dropped_total{concordat_reason="${reason}"}`

const CASES: readonly Case[] = [
  {
    alert: 'ConcordatSagaStuck',
    series: { [stuck]: '0x2 2x5' },
    at: '4m',
    fires: { concordat_saga_name: 'buy', severity: 'critical' },
  },
  { alert: 'ConcordatSagaStuck', series: { [stuck]: '0 1 0x5' }, at: '3m' },
  {
    alert: 'ConcordatOutboxOld',
    series: { [oldest]: '30+30x5' },
    at: '3m',
    fires: { concordat_outbox_schema: 'shop', severity: 'critical' },
  },
  { alert: 'ConcordatOutboxOld', series: { [oldest]: '50x5' }, at: '3m' },
  {
    alert: 'ConcordatOutboxParked',
    series: { 'concordat_outbox_parked{concordat_outbox_schema="shop"}': '0x2 1x5' },
    at: '4m',
    fires: { concordat_outbox_schema: 'shop', severity: 'warning' },
  },
  {
    alert: 'ConcordatDeadLetters',
    series: { [`concordat_binding_dead_letters${group}}`]: '0x2 5x5' },
    at: '4m',
    fires: { ...GROUP, severity: 'warning' },
  },
  {
    alert: 'ConcordatMessagesLost',
    series: { [displaced]: '0x5 7x5' },
    at: '7m',
    fires: { ...GROUP, severity: 'critical' },
  },
  {
    alert: 'ConcordatMessagesLost',
    series: { [displaced.replace('lost', 'repeated')]: '0x5 7x5' },
    at: '7m',
  },
  {
    alert: 'ConcordatCircuitOpen',
    series: { [`concordat_binding_circuit_open${group}}`]: '0x2 1x5' },
    at: '4m',
    fires: { ...GROUP, severity: 'warning' },
  },
  {
    alert: 'ConcordatMemberIsolated',
    series: { 'concordat_cluster_isolated{concordat_cluster="shop"}': '0x2 1x5' },
    at: '4m',
    fires: { concordat_cluster: 'shop', severity: 'warning' },
  },
  {
    alert: 'ConcordatBusDropsEvents',
    series: { [dropped('forged')]: '0x5 3x5' },
    at: '7m',
    fires: { concordat_reason: 'forged', severity: 'warning' },
  },
  { alert: 'ConcordatBusDropsEvents', series: { [dropped('repeated')]: '0x5 3x5' }, at: '7m' },
  {
    alert: 'ConcordatGroupStandsStill',
    series: { [lag]: '5x20', [consumed]: '7x20' },
    at: '15m',
    fires: { ...GROUP, severity: 'critical' },
  },
  { alert: 'ConcordatGroupStandsStill', series: { [lag]: '5x20', [consumed]: '0+10x20' }, at: '15m' },
  { alert: 'ConcordatGroupStandsStill', series: { [lag]: '0x20', [consumed]: '7x20' }, at: '15m' },
  {
    alert: 'ConcordatHandlerHangs',
    series: { [`concordat_binding_slow${group},instance="a"}`]: '0x2 1x2' },
    at: '3m',
    fires: { ...GROUP, severity: 'critical' },
  },
  {
    alert: 'ConcordatStepHangs',
    series: { 'concordat_saga_slow{concordat_saga_name="buy",concordat_saga_step="pay",instance="a"}': '_x2 1x2' },
    at: '3m',
    fires: { concordat_saga_name: 'buy', concordat_saga_step: 'pay', severity: 'warning' },
  },
  {
    alert: 'ConcordatProcessBlocked',
    series: { 'concordat_process_blocked{job="shop",instance="a"}': '0x2 20x2' },
    at: '3m',
    fires: { job: 'shop', instance: 'a', severity: 'warning' },
  },
  {
    alert: 'ConcordatInstanceSilent',
    series: { 'up{job="shop",instance="a"}': '1x2 0x5', 'concordat_process_blocked{job="shop",instance="a"}': '0x2' },
    at: '5m',
    fires: { job: 'shop', instance: 'a', severity: 'critical' },
  },
  { alert: 'ConcordatInstanceSilent', series: { 'up{job="other",instance="a"}': '1x2 0x5' }, at: '5m' },
  {
    alert: 'ConcordatSagaNotTaken',
    series: { 'concordat_saga_overdue{concordat_saga_name="buy"}': '0x2 3x2' },
    at: '3m',
    fires: { concordat_saga_name: 'buy', severity: 'critical' },
  },
  {
    alert: 'ConcordatOutboxFailing',
    series: {
      'concordat_outbox_blocked_keys{concordat_outbox_schema="shop"}': '2x5',
      'concordat_outbox_parked{concordat_outbox_schema="shop"}': '1x5',
    },
    at: '3m',
    fires: { concordat_outbox_schema: 'shop', severity: 'warning' },
  },
  {
    alert: 'ConcordatNoLeader',
    series: { [leads('a')]: '0x10', [leads('b')]: '0x10' },
    at: '5m',
    fires: { concordat_election_role: 'nightly', severity: 'critical' },
  },
  { alert: 'ConcordatNoLeader', series: { [leads('a')]: '0x10', [leads('b')]: '1x10' }, at: '5m' },
  {
    alert: 'ConcordatBindingDown',
    series: { [`concordat_binding_up${group}}`]: '1x2 0x10' },
    at: '10m',
    fires: { ...GROUP, severity: 'critical' },
  },
  { alert: 'ConcordatBindingDown', series: { [`concordat_binding_up${group}}`]: '1 0 1x10' }, at: '10m' },
  {
    alert: 'ConcordatLockExpired',
    series: { [lost]: '0x5 1x5' },
    at: '8m',
    fires: { concordat_lock_mode: 'exclusive', severity: 'warning' },
  },
  { alert: 'ConcordatLockExpired', series: { [lost]: '3x30' }, at: '25m' },
]

describeIt(() => {
  const run = async (...args: string[]): Promise<string> => {
    const { stdout, stderr } = await promisify(execFile)(promtool ?? '', args)
    return stdout + stderr
  }

  test('promtool finds no fault in the alert rules', async () => {
    expect(await run('check', 'rules', RULES)).toMatch(/SUCCESS: \d+ rules found/)
  })

  test('promtool fires each alert rule over its numbers', () => {
    const alerts = Array.from(readFileSync(RULES, 'utf8').matchAll(/- alert: (\w+)/g), ([, name]) => name)
    expect(alerts.filter((name) => !CASES.some(({ alert, fires }) => alert === name && fires !== undefined))).toEqual(
      [],
    )
  })

  test.each(CASES)('$alert at $at: $fires', async ({ alert, series, at, fires }) => {
    const folder = await mkdtemp(join(tmpdir(), 'concordat-rules-'))
    const input = Object.entries(series).map(([name, values]) => ({
      series: name,
      values: values.replaceAll(/(?<!\+)\b(\d+)x/g, '$1+0x'),
    }))
    // Names of the firing alerts, without their texts: the metric that Prometheus itself keeps of them.
    const expr = `ALERTS{alertname="${alert}",alertstate="firing"}`
    const labels = Object.entries({ alertname: alert, alertstate: 'firing', ...fires }).map(
      ([name, value]) => `${name}="${value}"`,
    )
    const samples = fires === undefined ? [] : [{ labels: `ALERTS{${labels.join(',')}}`, value: 1 }]
    const test = {
      interval: '1m',
      input_series: input,
      promql_expr_test: [{ expr, eval_time: at, exp_samples: samples }],
    }
    const file = join(folder, 'test.json')
    // JSON is YAML.
    await writeFile(file, JSON.stringify({ rule_files: [RULES], evaluation_interval: '1m', tests: [test] }))
    expect(await run('test', 'rules', file)).toContain('SUCCESS')
    await rm(folder, { recursive: true })
  })
})
