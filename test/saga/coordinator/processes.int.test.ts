import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { SqlClient } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import type { Coordinator } from 'concordat/saga/coordinator'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { type TransferSagas, transferCoordinator } from '../support/transfer.ts'

const PROGRAM = fileURLToPath(new URL('../support/coordinator-process.ts', import.meta.url))
const LEASE_MS = 1_500

interface Process {
  readonly child: ChildProcess
  readonly lines: string[]
  says(line: string): Promise<void>
  kill(signal: NodeJS.Signals): Promise<void>
}

describeWith(['postgres'], 'coordinators as processes on one PostgreSQL', () => {
  const schema = `saga_it_${process.pid}`
  let url = ''
  let pool: pg.Pool
  let sql: SqlClient
  let local: { coordinator: Coordinator; sagas: TransferSagas }
  const children = new Set<Process>()

  beforeAll(async () => {
    url = serverUrl('postgres') ?? ''
    pool = new pg.Pool({ connectionString: url, max: 6 })
    sql = pgClient(pool)
    local = join('local')
    await local.coordinator.migrate()
    await sql.query(`CREATE TABLE ${schema}.effects (key text, what text, instance text)`)
  })
  afterEach(async () => {
    for (const process of children) await process.kill('SIGKILL')
    await local.coordinator.close()
    local = join('local')
  })
  afterAll(async () => {
    await sql.query(`DROP SCHEMA ${schema} CASCADE`)
    await pool.end()
  })

  function join(instance: string, inSlow = async (): Promise<void> => {}): typeof local {
    return transferCoordinator({ schema, instance, sql, inSlow }, LEASE_MS)
  }

  async function launch(instance: string, more: object = {}): Promise<Process> {
    const job = JSON.stringify({ url, schema, instance, leaseMs: LEASE_MS, ...more })
    const child = spawn(process.execPath, ['--conditions=concordat-source', PROGRAM, job], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const lines: string[] = []
    createInterface({ input: child.stdout }).on('line', (line) => lines.push(line))
    const launched: Process = {
      child,
      lines,
      says: (line) => until(`${instance} says "${line}"`, () => lines.includes(line)),
      kill: async (signal) => {
        children.delete(launched)
        if (child.exitCode !== null || child.signalCode !== null) return
        const exit = once(child, 'exit')
        child.kill(signal)
        await exit
      },
    }
    children.add(launched)
    await launched.says('running')
    return launched
  }

  async function effects(prefix: string): Promise<string[]> {
    const { rows } = await sql.query<{ what: string; instance: string }>(
      `SELECT what, instance FROM ${schema}.effects WHERE key LIKE $1 ORDER BY what`,
      [`${prefix}/%`],
    )
    return rows.map(({ what, instance }) => `${what} by ${instance}`)
  }

  test('a saga whose coordinator was killed with -9 is taken over when its lease ends', async () => {
    const victim = await launch('victim', { start: { saga: 'transactional', id: 'killed' } })
    await victim.says('in-slow')
    await victim.kill('SIGKILL')
    const { rows } = await sql.query<{ leaseEnd: number }>(
      `SELECT (extract(epoch FROM due_at) * 1000)::float8 AS "leaseEnd" FROM ${schema}.saga WHERE id = 'killed'`,
    )
    await local.coordinator.run()
    const run = local.coordinator.get(local.sagas.transactional, 'killed')
    const { status, timeline } = await run.outcome({ timeoutMs: 60_000 })
    expect(status).toBe('completed')
    // Not before its lease was over, and without help after that; the faults of sagas check how soon.
    const takenAt = timeline.find(({ kind }) => kind === 'orphaned')?.at ?? 0
    expect(takenAt).toBeGreaterThanOrEqual(Math.floor(rows[0]?.leaseEnd ?? 0))
    expect(await effects('tx/killed')).toEqual(['end by local', 'open by victim', 'slow by local'])
  })

  test.each(['transactional', 'plain'] as const)(
    'a coordinator stopped beyond its lease cannot write when it wakes up (%s step)',
    async (saga) => {
      const id = `stopped-${saga}`
      const sleeper = await launch('sleeper', { start: { saga, id } })
      await sleeper.says('in-slow')
      sleeper.child.kill('SIGSTOP')
      await local.coordinator.run()
      const run = local.coordinator.get(local.sagas[saga] as TransferSagas['plain'], id)
      const outcome = await run.outcome({ timeoutMs: 30_000 })
      sleeper.child.kill('SIGCONT')
      sleeper.child.stdin?.write('go on\n')
      await until('the sleeper found out', () => sleeper.lines.some((line) => /lost|taken over/.test(line)))
      expect(outcome.status).toBe('completed')
      expect(outcome.timeline.filter(({ kind }) => kind === 'invoked')).toHaveLength(
        outcome.timeline.filter(({ kind }) => kind === 'invoking').length - 1,
      )
      expect(await effects(saga === 'plain' ? `plain/${id}` : `tx/${id}`)).toEqual(
        saga === 'plain' ? ['end by local', 'slow by sleeper'] : ['end by local', 'open by sleeper', 'slow by local'],
      )
    },
  )

  test('a coordinator that stalled beyond its lease writes at once when it wakes up, and is refused', async () => {
    const stalled = await launch('stalled', {
      start: { saga: 'transactional', id: 'stall' },
      stallMs: 2 * LEASE_MS,
    })
    await stalled.says('in-slow')
    const refused = until('the stalled one was refused', () => stalled.lines.some((line) => /taken over/.test(line)))
    // The new owner is in the middle of the same step when the old one tries to write.
    local = join('local', () => refused)
    await local.coordinator.run()
    const run = local.coordinator.get(local.sagas.transactional, 'stall')
    expect((await run.outcome({ timeoutMs: 30_000 })).status).toBe('completed')
    expect(await effects('tx/stall')).toEqual(['end by local', 'open by stalled', 'slow by local'])
  })

  test('three processes share the work, die at random, and every effect is there once', async () => {
    const N = 120
    const work = { workMs: 100 }
    const runs = await Promise.all(
      Array.from({ length: N }, async (_, i) => {
        const saga = local.sagas.transactional
        return local.coordinator.start(saga, { id: `many${i}`, input: { refuse: i % 3 === 0, kind: 'transactional' } })
      }),
    )
    const rivals = await Promise.all(['p0', 'p1', 'p2'].map((name) => launch(name, work)))
    for (let n = 0; n < 6; n++) {
      // Not before it works, so the first ones die in the middle of several sagas. Little may be left for the later ones.
      if (n < 3) await rivals[n]?.says('at-work')
      await rivals[n % 3]?.kill('SIGKILL')
      rivals[n % 3] = await launch(`p${n % 3}`, work)
    }
    const watcher = local.coordinator
    for (const [i, { id }] of runs.entries()) {
      const outcome = await watcher.get(local.sagas.transactional, id).outcome({ timeoutMs: 60_000 })
      expect(outcome.status, id).toBe(i % 3 === 0 ? 'compensated' : 'completed')
    }
    const { rows } = await sql.query(
      `SELECT what, count(*)::int AS n FROM ${schema}.effects WHERE key LIKE 'tx/many%' GROUP BY what ORDER BY what`,
    )
    const refused = N / 3
    const who = await sql.query(`SELECT DISTINCT instance FROM ${schema}.effects WHERE key LIKE 'tx/many%'`)
    expect(who.rows.length, 'several did some').toBeGreaterThan(1)
    const orphans = await sql.query(`SELECT 1 FROM ${schema}.saga_event WHERE id LIKE 'many%' AND kind = 'orphaned'`)
    expect(orphans.rows.length, 'some were cut short').toBeGreaterThan(0)
    expect(rows).toEqual([
      { what: 'end', n: N - refused },
      { what: 'open', n: N },
      { what: 'slow', n: N },
      { what: 'undo open', n: refused },
      { what: 'undo slow', n: refused },
    ])
  })
})
