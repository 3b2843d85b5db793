/** `kill -9` of the participant and of the coordinator, while they talk by HTTP. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { SqlClient } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { createOutbox } from 'concordat/outbox'
import { migrateParticipant } from 'concordat/saga'
import { type Coordinator, createCoordinator } from 'concordat/saga/coordinator'
import { transactionFetch } from 'concordat/saga/http'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { type HttpJob, httpSagas } from '../support/http-sagas.ts'

const PROGRAM = fileURLToPath(new URL('../support/http-process.ts', import.meta.url))

describeWith(['postgres'], 'processes that talk by HTTP', () => {
  const run = `hp_${process.pid}`
  const children = new Set<ChildProcess>()
  let pool: pg.Pool
  let sql: SqlClient
  let url = ''

  beforeAll(async () => {
    url = serverUrl('postgres') ?? ''
    pool = new pg.Pool({ connectionString: url, max: 6 })
    sql = pgClient(pool)
    await createOutbox({ sql, service: 'front', schema: run }).migrate()
    await coordinator('').migrate()
    await migrateParticipant(sql, `${run}_bank`)
    await sql.query(`CREATE TABLE ${run}.effects (key text, what text)`)
  }, 120_000)
  afterEach(async () => {
    for (const child of children) await kill(child)
  })
  afterAll(async () => {
    await sql.query(`DROP SCHEMA ${run}, ${run}_bank CASCADE`)
    await pool.end()
  })

  function coordinator(bank: string): Coordinator {
    const { sagas } = httpSagas({ bank: bank === '' ? 'http://127.0.0.1:1' : bank })
    const outbox = createOutbox({ sql, service: 'front', schema: run })
    return createCoordinator({ service: 'front', sql, outbox, schema: run, sagas, leaseMs: 1_000, pollMs: 50 })
  }

  let count = 0
  function launch(job: Partial<HttpJob> & Pick<HttpJob, 'role'>) {
    const all: HttpJob = { url, run, instance: `i-${++count}`, port: 0, bank: 'http://127.0.0.1:1', ids: [], ...job }
    const child = spawn(process.execPath, ['--conditions=concordat-source', PROGRAM, JSON.stringify(all)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    children.add(child)
    const lines: string[] = []
    createInterface({ input: child.stdout }).on('line', (line) => lines.push(line))
    const says = (start: string) =>
      until(`${job.role} says "${start}"`, () => lines.some((line) => line.startsWith(start)), 60_000)
    const port = async (): Promise<number> => {
      await says('port ')
      return Number(lines.find((line) => line.startsWith('port '))?.slice(5))
    }
    return { child, says, port }
  }

  async function kill(child: ChildProcess): Promise<void> {
    children.delete(child)
    if (child.exitCode !== null || child.signalCode !== null) return
    const exit = once(child, 'exit')
    child.kill('SIGKILL')
    await exit
  }

  /** Effects of each step, in alphabetical order. */
  async function effectsOf(prefix: string): Promise<ReadonlyMap<string, readonly string[]>> {
    const { rows } = await sql.query<{ key: string; what: string }>(
      `SELECT key, what FROM ${run}.effects WHERE starts_with(key, $1) ORDER BY key, what`,
      [prefix],
    )
    return new Map(
      Object.entries(Object.groupBy(rows, ({ key }) => key)).map(([key, all = []]) => [
        key,
        all.map(({ what }) => what),
      ]),
    )
  }

  test('are killed in turn in the middle of their work: each saga is confirmed once, or cancelled once', {
    timeout: 240_000,
  }, async () => {
    const ids = Array.from({ length: 40 }, (_, n) => `${n % 3 === 0 ? 'no' : 'yes'}-${n}`)
    let bank = launch({ role: 'bank' })
    const port = await bank.port()
    const place = `http://127.0.0.1:${port}`
    let front = launch({ role: 'front', bank: place, ids })
    await front.says('started')
    for (let n = 0; n < 4; n++) {
      await sleep(150 + 100 * n)
      await kill(bank.child)
      bank = launch({ role: 'bank', port })
      await bank.port()
      await sleep(150 + 100 * n)
      await kill(front.child)
      front = launch({ role: 'front', bank: place, ids })
      await front.says('started')
    }
    await front.says('started all')
    const last = coordinator(place)
    try {
      await last.run()
      const { pay } = httpSagas({ bank: place })
      for (const id of ids) {
        const { status } = await last.get(pay, id).outcome({ timeoutMs: 120_000 })
        expect(status, id).toBe(id.startsWith('no') ? 'compensated' : 'completed')
      }
      const effects = await effectsOf('pay/')
      for (const id of ids) {
        const [withdraw, deposit] = ['withdraw', 'deposit'].map((step) => effects.get(`pay/${id}/${step}`))
        if (id.startsWith('no')) expect([withdraw, deposit], id).toEqual([['cancel', 'try'], undefined])
        else
          expect([withdraw, deposit], id).toEqual([
            ['confirm', 'try'],
            ['confirm', 'try'],
          ])
      }
    } finally {
      await last.close()
    }
  })

  test('a process that has joined is killed before it answers: its branches are cancelled with all the rest', {
    timeout: 120_000,
  }, async () => {
    const bank = `http://127.0.0.1:${await launch({ role: 'bank' }).port()}`
    const joiner = launch({ role: 'joiner', bank })
    const place = `http://127.0.0.1:${await joiner.port()}`
    const here = coordinator(bank)
    try {
      await here.run()
      const { code } = httpSagas({ bank })
      const run = here.globalTransaction(code, { id: 'joined', input: {} }, async (global) => {
        const answer = transactionFetch()(place, { method: 'POST' })
        answer.catch(() => {})
        await joiner.says('joined')
        await kill(joiner.child)
        await answer
        return global.id
      })
      // On a busy machine another coordinator may have cancelled it before its own one learns of the kill.
      await expect(run).rejects.toThrow(/fetch failed|was cancelled/)
      const effects = await effectsOf('code/joined/')
      expect([...effects.values()]).toEqual([['cancel', 'try']])
    } finally {
      await here.close()
    }
  })
})
