import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import type { SqlClient, SqlExecutor } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { tccParticipant } from 'concordat/saga/tcc'
import { createService, type Service } from 'concordat/service'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { gate, until } from '../../support/until.ts'
import { transferOf } from '../support/global-front.ts'

const PROGRAM = fileURLToPath(new URL('../support/global-process.ts', import.meta.url))
const LEASE_MS = 1_500

describeWith(['postgres', 'rabbitmq'], 'a process that runs a global transaction on PostgreSQL and RabbitMQ', () => {
  const run = `gt_${process.pid}`
  const { moves, transfer } = transferOf(run)
  const children = new Set<ChildProcess>()
  let url = ''
  let pool: pg.Pool
  let sql: SqlClient
  let front: Service
  let bank: Service
  let begun = 0
  let inTry = async (_sagaId: string): Promise<void> => {}

  beforeAll(async () => {
    url = serverUrl('postgres') ?? ''
    pool = new pg.Pool({ connectionString: url, max: 12 })
    sql = pgClient(pool)
    const parts = { coordinator: { leaseMs: LEASE_MS, pollMs: 100 } }
    const transport = () => rabbitTransport({ url: serverUrl('rabbitmq') ?? '' })
    front = createService({ name: `${run}-front`, sql, schema: run, transport: transport(), sagas: [transfer], parts })
    const note = async (tx: SqlExecutor, id: string, what: string): Promise<void> =>
      void (await tx.query(`INSERT INTO ${run}.effects VALUES ($1, $2)`, [id, what]))
    const participant = tccParticipant(
      moves,
      { group: 'bank', effects: 'tx' },
      {
        try: async ({ account }, { tx, sagaId }) => {
          await inTry(sagaId)
          await note(tx, sagaId, `try ${account}`)
        },
        confirm: ({ account }, { tx, sagaId }) => note(tx, sagaId, `confirm ${account}`),
        cancel: ({ account }, { tx, sagaId }) => note(tx, sagaId, `cancel ${account}`),
      },
    )
    const own = { name: `${run}-bank`, schema: `${run}_bank`, sql, transport: transport() }
    bank = createService({ ...own, bindings: [participant] })
    await Promise.all([front.start(), bank.start()])
    await sql.query(`CREATE TABLE ${run}.effects (id text, what text)`)
  }, 120_000)
  afterEach(async () => {
    for (const child of children) await kill(child)
  })
  afterAll(async () => {
    await Promise.all([front.close(), bank.close()])
    await sql.query(`DROP SCHEMA ${run}, ${run}_bank CASCADE`)
    await pool.end()
  })

  /** Id that is new at each attempt. */
  const idOf = (name: string): string => `${name}-${++begun}`

  async function launch(id: string, leaseMs = LEASE_MS) {
    const job = JSON.stringify({ url, id, run, instance: id, leaseMs })
    const child = spawn(process.execPath, ['--conditions=concordat-source', PROGRAM, job], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    children.add(child)
    const lines: string[] = []
    createInterface({ input: child.stdout }).on('line', (line) => lines.push(line))
    const says = (line: string) => until(`${id} says "${line}"`, () => lines.includes(line), 60_000)
    return { child, says, tell: (line: string) => child.stdin.write(`${line}\n`) }
  }

  async function kill(child: ChildProcess): Promise<void> {
    children.delete(child)
    if (child.exitCode !== null || child.signalCode !== null) return
    const exit = once(child, 'exit')
    child.kill('SIGKILL')
    await exit
  }

  /** Outcome by a live instance, and the outcomes of its branches, in alphabetical order. */
  async function fate(id: string): Promise<readonly unknown[]> {
    const options = { id, input: {}, timeoutMs: 60_000 }
    const told = await front
      .globalTransaction(transfer, options, () => expect.unreachable('its code is not called again'))
      .catch((error: unknown) => (error as { failure: { code: string } }).failure.code)
    const { rows } = await sql.query<{ what: string }>(`SELECT what FROM ${run}.effects WHERE id = $1 ORDER BY what`, [
      id,
    ])
    return [told, ...rows.map(({ what }) => what)]
  }

  test('lives: all is confirmed', { timeout: 120_000 }, async () => {
    const id = idOf('lives')
    const { says, tell } = await launch(id, 60_000)
    await says('called a')
    tell('call')
    await says('outcome: done')
    expect(await fate(id)).toEqual(['done', 'confirm a', 'confirm b', 'try a', 'try b'])
  })

  test('is killed in the middle: another one cancels its branches', { timeout: 120_000 }, async () => {
    const id = idOf('killed')
    const { child, says } = await launch(id)
    await says('called a')
    await kill(child)
    expect(await fate(id)).toEqual(['saga.orphaned', 'cancel a', 'try a'])
  })

  test('is killed while a branch is being tried: that one is cancelled, too', { timeout: 120_000 }, async () => {
    const [reached, opened] = [gate(), gate()]
    const id = idOf('in-try')
    inTry = async (tried) => {
      if (tried !== id) return
      reached.open()
      await opened.opened
    }
    const { coordinator } = front
    if (coordinator === undefined) return expect.unreachable()
    const { child } = await launch(id)
    await reached.opened
    await kill(child)
    await until('another one has turned it back', async () => {
      const { status } = await coordinator.report({ saga: 'transfer', id })
      return status === 'compensating'
    })
    opened.open()
    expect(await fate(id)).toEqual(['saga.orphaned', 'cancel a', 'try a'])
  })

  test.each(['call', 'return'] as const)(
    'is frozen beyond its lease and resumes to %s: refused, and nothing is half done',
    { timeout: 120_000 },
    async (then) => {
      const id = idOf(`frozen-${then}`)
      const { child, says, tell } = await launch(id)
      await says('called a')
      child.kill('SIGSTOP')
      expect(await fate(id)).toEqual(['saga.orphaned', 'cancel a', 'try a'])
      tell(then)
      child.kill('SIGCONT')
      if (then === 'call') await says('called b: saga.transaction_ended')
      await says('outcome: saga.transaction_cancelled')
      expect(await fate(id), 'as it was').toEqual(['saga.orphaned', 'cancel a', 'try a'])
    },
  )
})
